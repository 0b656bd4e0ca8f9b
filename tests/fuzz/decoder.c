/* SPDX-License-Identifier: BSD-2-Clause */
/* Fuzz target: the instruction decoder, on any bytes in each mode.
 *
 * Oracles: nothing is read behind the bytes (their block ends there); lengths agree with length_rule.c, which
 * was written without the decoder's tables; an instruction is the same whatever stands behind it, and one
 * byte less asks for more; the short look at MOV CR says what the decoder says. */
// USES: servers/vmm/x86/*.c tests/fuzz/support/length_rule.c
#include "support/fuzz.h"
#include "support/length_rule.h"

#include "check.h"
#include <servers/vmm/x86/decode.h>

#include <stdlib.h>
#include <string.h>

static enum x86_decoded decode_exact(const uint8_t *bytes, unsigned n, enum x86_mode mode,
                                     struct x86_insn *in)
{
    uint8_t *exact = malloc(n ? n : 1);
    memcpy(exact, bytes, n);
    memset(in, 0, sizeof(*in));
    enum x86_decoded d = x86_decode(exact, n, mode, in);
    free(exact);
    return d;
}

static void check_decoded(const uint8_t *bytes, unsigned n, enum x86_mode mode, const struct x86_insn *in)
{
    struct x86_insn again;

    CHECK(in->length >= 1 && in->length <= n && in->length <= X86_INSN_MAX);
    CHECK(in->op < X86_OPS && in->mode == mode && in->operands <= 3);
    CHECK_EQ(decode_exact(bytes, in->length, mode, &again), X86_DECODED);
    CHECK_MEM_EQ(&again, in, sizeof(again));
    CHECK_EQ(decode_exact(bytes, in->length - 1, mode, &again), X86_NEED_MORE);
    CHECK(again.length >= in->length && again.length <= X86_INSN_MAX);
    CHECK_EQ(x86_length(bytes, n, mode), in->length);
    unsigned expected = length_rule(bytes, n, mode);
    if (expected)
        CHECK_EQ(in->length, expected);
    for (unsigned i = 0; i < in->operands; i++) {
        const struct x86_operand *o = &in->operand[i];
        CHECK(o->kind <= X86_XMM);
        CHECK_LT(o->reg, 16);
    }
    CHECK(in->mem.base < GPRS && in->mem.index < GPRS && in->mem.scale < 4 && in->mem.segment < SEGS);
}

static void check_cr_mov(const uint8_t *bytes, unsigned n, enum x86_mode mode, enum x86_decoded d,
                         const struct x86_insn *in)
{
    struct x86_cr_mov mov;

    if (!x86_decode_cr_mov(bytes, n, mode, &mov))
        return;
    CHECK_EQ(d, X86_DECODED);
    CHECK_EQ(in->op, X86_MOV_CR);
    CHECK_EQ(in->length, mov.length);
    const struct x86_operand *cr = &in->operand[mov.write ? 0 : 1], *gpr = &in->operand[mov.write ? 1 : 0];
    CHECK(cr->kind == X86_CR && gpr->kind == X86_REG);
    CHECK_EQ(cr->reg, mov.cr);
    CHECK_EQ(gpr->reg, mov.gpr);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const enum x86_mode modes[] = { X86_16, X86_32, X86_64 };
    struct x86_insn in;

    if (size < 1)
        return 0;
    enum x86_mode mode = modes[bytes[0] % 3];
    unsigned n = size - 1 < 2 * X86_INSN_MAX ? (unsigned)size - 1 : 2 * X86_INSN_MAX;
    enum x86_decoded d = decode_exact(bytes + 1, n, mode, &in);
    if (d == X86_DECODED)
        check_decoded(bytes + 1, n, mode, &in);
    if (d == X86_NEED_MORE)
        CHECK(in.length > n && in.length <= X86_INSN_MAX);
    check_cr_mov(bytes + 1, n, mode, d, &in);
    return 0;
}
