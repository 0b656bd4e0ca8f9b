/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: generated dispatch code and stubs of every interface of the system, and of one that has every
 * type; by raw messages, and by calls whose values the input chooses and whose messages it may change on
 * their way.
 *
 * Oracles: what an implementation is given belongs to its type and keeps `requires`; what is no part of the
 * message changes nothing; an answer is well-formed, and either the implementation's or a refusal; unchanged
 * calls bring all values there and back. */
// USES: build/gen/fuzz/faces.c build/gen/fuzz/every_client.c build/gen/fuzz/every_server.c
// USES: build/gen/management_client.c build/gen/management_server.c
// USES: build/gen/memory_client.c build/gen/memory_server.c
// USES: build/gen/supervisor_client.c build/gen/supervisor_server.c
#include "support/fuzz.h"

#include "support/faces.h"

enum face_mode mode;
unsigned impl_calls, accepted;
uint64_t face_digest;

static struct fuzz_input in;
static const struct face *face;
static bool change; /* the message of a call, on its way */

uint64_t rnd(void)
{
    return fuzz_number(&in, 8);
}

uint64_t below(uint64_t n)
{
    return fuzz_below(&in, n);
}

uint64_t value(void)
{
    return fuzz_value(&in);
}

void face_given(const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        face_digest = (face_digest ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3ull;
    face_digest = (face_digest ^ n) * 0x100000001b3ull;
}

static void check_shape(const struct umbra_message *m)
{
    CHECK(TAG_WORDS(m->tag) <= MSG_WORDS_MAX && m->ncaps <= MSG_CAPS_MAX);
    CHECK_EQ(TAG_NCAPS(m->tag), m->ncaps);
}

/* Dispatch of *m; what lies behind its words is filler. The implementation's own choices begin where they
 * did. */
static void dispatch(struct umbra_message *m, uint64_t filler)
{
    for (uint64_t i = TAG_WORDS(m->tag); i < MSG_WORDS_MAX; i++)
        m->w[i] = filler * (2 * i + 1);
    for (uint32_t i = m->ncaps; i < MSG_CAPS_MAX; i++)
        m->caps[i] = (cptr_t)filler;
    face_digest = 0;
    face->dispatch(m, (void *)5);
    check_shape(m);
}

static void dispatch_twice(struct umbra_message *m)
{
    struct umbra_message other = *m;
    struct fuzz_input at = in;
    unsigned calls = impl_calls;

    dispatch(m, 0);
    uint64_t given = face_digest;
    bool called = impl_calls != calls;
    in = at;
    calls = impl_calls;
    dispatch(&other, 0xa5a5a5a5a5a5a5a5);
    CHECK_EQ(impl_calls != calls, called);
    CHECK_EQ(face_digest, given);
    CHECK_EQ(other.tag, m->tag);
    CHECK_MEM_EQ(other.w, m->w, TAG_WORDS(m->tag) * 8);
    if (!called)
        CHECK(TAG_LABEL(m->tag) == ERR_BAD_MESSAGE || TAG_LABEL(m->tag) == ERR_CONTRACT);
}

static void change_message(struct umbra_message *m)
{
    uint64_t words = TAG_WORDS(m->tag), how = below(8);

    if (how == 0)
        m->tag ^= BIT(below(64));
    else if (how == 1)
        m->ncaps = (uint32_t)below(MSG_CAPS_MAX + 1);
    else if (words)
        m->w[below(words)] ^= how < 5 ? BIT(below(64)) : value();
    if (TAG_WORDS(m->tag) > MSG_WORDS_MAX ||
        TAG_NCAPS(m->tag) != m->ncaps) /* the kernel gives no such message */
        m->tag = (m->tag & ~0xffffull) | words | TAG_CAPS(m->ncaps);
}

err_t umbra_transport_call(cptr_t ep, struct umbra_message *m)
{
    CHECK_EQ(ep, 77);
    check_shape(m);
    m->badge = 1234;
    if (change)
        change_message(m);
    dispatch(m, 0x5a5a5a5a5a5a5a5a);
    if (change)
        change_message(m);
    return ERR_OK;
}

static void raw(void)
{
    struct umbra_message m = { .badge = rnd() };
    uint8_t which = fuzz_byte(&in);
    uint32_t label = which < 0xf0 ? face->labels[which % face->procedures] : (uint32_t)rnd();
    uint64_t words = fuzz_byte(&in) % (MSG_WORDS_MAX + 1);

    m.ncaps = which & 1 ? (uint32_t)below(MSG_CAPS_MAX + 1) : 0;
    for (uint32_t i = 0; i < m.ncaps; i++)
        m.caps[i] = (cptr_t)(100 + i);
    m.tag = TAG(label, words) | TAG_CAPS(m.ncaps);
    for (uint64_t i = 0; i < words; i++)
        m.w[i] = fuzz_byte(&in) & 1 ? value() : rnd();
    dispatch_twice(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    in = (struct fuzz_input){ bytes, bytes + n };
    uint8_t how = fuzz_byte(&in);
    face = &faces[fuzz_byte(&in) % faces_count];
    mode = how % 3 ? RAW : ROUND;
    change = how % 3 == 2;
    impl_calls = accepted = 0;
    if (how % 3 == 1)
        raw();
    else
        face->calls[fuzz_byte(&in) % face->procedures]();
    return 0;
}
