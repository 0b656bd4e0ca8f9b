/* SPDX-License-Identifier: BSD-2-Clause */
/* For test_idl_roundtrip.py: requests of every length, each changed in every place. A change is refused or
 * makes another value: so a value has exactly one form. Ends with 1 at the first that does neither. */
#include "forms_server.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Without holes, so that two can be compared as bytes. */
struct seen {
    uint8_t s[20], t[10];
    uint16_t flag, a[5], len, count;
};
BUILD_ASSERT(sizeof(struct seen) == 46);

static struct seen seen;
static struct umbra_message request;
static unsigned calls;

err_t umbra_transport_call(cptr_t ep, struct umbra_message *m)
{
    (void)ep;
    request = *m;
    forms_dispatch(m, 0);
    return ERR_OK;
}

err_t forms_put_impl(void *self, uint64_t badge, bool flag, const uint8_t *s, uint32_t s_len,
                     const uint16_t *a, uint32_t a_count, const char *t)
{
    (void)self;
    (void)badge;
    seen = (struct seen){ .flag = flag, .len = (uint16_t)s_len, .count = (uint16_t)a_count };
    memcpy(seen.s, s, s_len);
    memcpy(seen.a, a, a_count * sizeof(*a));
    memcpy(seen.t, t, strlen(t) + 1);
    calls++;
    return ERR_OK;
}

static bool is_refused(struct umbra_message m)
{
    calls = 0;
    forms_dispatch(&m, 0);
    return !calls && TAG_LABEL(m.tag) == ERR_BAD_MESSAGE;
}

static void fail(const char *what, uint32_t where, const struct seen *good)
{
    printf("%s %u of %u bytes, %u numbers, \"%s\"\n", what, where, good->len, good->count,
           (const char *)good->t);
    exit(1);
}

static void check(uint32_t len, uint32_t count, const char *text)
{
    static const uint8_t s[20] = { 1, 2, 3 };
    static const uint16_t a[5] = { 4, 5 };

    calls = 0;
    err_t e = forms_put(1, true, s, len, a, count, text);
    const struct seen good = seen;
    if (e != ERR_OK || calls != 1)
        fail("request", 0, &good);
    for (uint32_t words = 0; words < 10; words++) {
        struct umbra_message m = request;
        m.tag = TAG(TAG_LABEL(m.tag), words);
        if (words != TAG_WORDS(request.tag) && !is_refused(m))
            fail("words", words, &good);
    }
    for (uint32_t bit = 0; bit < TAG_WORDS(request.tag) * 64; bit++) {
        struct umbra_message m = request;
        m.w[bit / 64] ^= 1ull << bit % 64;
        if (!is_refused(m) && !memcmp(&seen, &good, sizeof(seen)))
            fail("bit", bit, &good);
    }
}

int main(void)
{
    for (uint32_t len = 0; len <= 20; len++) {
        for (uint32_t count = 0; count <= 5; count++) {
            check(len, count, "");
            check(len, count, "seven..");
            check(len, count, "ninechars");
        }
    }
    return 0;
}
