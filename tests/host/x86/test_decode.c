/* SPDX-License-Identifier: BSD-2-Clause */
/* Decoder: what comes out of single encodings, and what is refused. Lengths in bulk: test_length.py. */
// USES: servers/vmm/x86/*.c
#include <string.h>

#include "check.h"

#include <servers/vmm/x86/decode.h>

#define BYTES(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

static struct x86_insn in;

static enum x86_decoded decode(enum x86_mode mode, const uint8_t *bytes, unsigned n)
{
    return x86_decode(bytes, n, mode, &in);
}

TEST(decode_mov_to_memory_with_sib_and_rex)
{
    /* mov %r9, -8(%r12,%r13,4) */
    CHECK_EQ(decode(X86_64, BYTES(0x4f, 0x89, 0x4c, 0xac, 0xf8)), X86_DECODED);
    CHECK_EQ(in.op, X86_MOV);
    CHECK_EQ(in.length, 5);
    CHECK_EQ(in.opsize, 8);
    CHECK_EQ(in.operand[0].kind, X86_MEM);
    CHECK_EQ(in.operand[0].size, 8);
    CHECK_EQ(in.operand[1].kind, X86_REG);
    CHECK_EQ(in.operand[1].reg, R9);
    CHECK_EQ(in.mem.base, R12);
    CHECK_EQ(in.mem.index, R13);
    CHECK_EQ(in.mem.scale, 2);
    CHECK_EQ(in.mem.disp, -8);
    CHECK_EQ(in.mem.segment, SEG_DS);
}

TEST(decode_byte_register_is_high_only_without_rex)
{
    CHECK_EQ(decode(X86_64, BYTES(0x88, 0xe0)), X86_DECODED); /* mov %ah, %al */
    CHECK_EQ(in.operand[1].kind, X86_REG_HIGH);
    CHECK_EQ(in.operand[1].reg, RAX);
    CHECK_EQ(decode(X86_64, BYTES(0x40, 0x88, 0xe0)), X86_DECODED); /* mov %spl, %al */
    CHECK_EQ(in.operand[1].kind, X86_REG);
    CHECK_EQ(in.operand[1].reg, RSP);
}

TEST(decode_segment_of_memory_follows_base_and_override)
{
    CHECK_EQ(decode(X86_64, BYTES(0x8b, 0x45, 0x00)), X86_DECODED); /* (%rbp) */
    CHECK_EQ(in.mem.segment, SEG_SS);
    CHECK_EQ(decode(X86_64, BYTES(0x8b, 0x04, 0x24)), X86_DECODED); /* (%rsp) */
    CHECK_EQ(in.mem.segment, SEG_SS);
    CHECK_EQ(decode(X86_64, BYTES(0x41, 0x8b, 0x04, 0x24)), X86_DECODED); /* (%r12) */
    CHECK_EQ(in.mem.segment, SEG_DS);
    CHECK_EQ(decode(X86_64, BYTES(0x41, 0x8b, 0x45, 0x00)), X86_DECODED); /* (%r13) */
    CHECK_EQ(in.mem.segment, SEG_DS);
    CHECK_EQ(decode(X86_64, BYTES(0x65, 0x8b, 0x45, 0x00)), X86_DECODED); /* %gs: */
    CHECK_EQ(in.mem.segment, SEG_GS);
    CHECK_EQ(decode(X86_64, BYTES(0x65, 0x2e, 0x8b, 0x45, 0x00)), X86_DECODED); /* CS is ignored, GS stays */
    CHECK_EQ(in.mem.segment, SEG_GS);
    CHECK_EQ(decode(X86_32, BYTES(0x2e, 0x8b, 0x45, 0x00)), X86_DECODED);
    CHECK_EQ(in.mem.segment, SEG_CS);
}

TEST(decode_16_bit_addressing)
{
    CHECK_EQ(decode(X86_16, BYTES(0x8b, 0x42, 0xff)), X86_DECODED); /* -1(%bp,%si) */
    CHECK_EQ(in.mem.base, RBP);
    CHECK_EQ(in.mem.index, RSI);
    CHECK_EQ(in.mem.disp, -1);
    CHECK_EQ(in.mem.segment, SEG_SS);
    CHECK_EQ(decode(X86_16, BYTES(0x8b, 0x06, 0x34, 0xf2)), X86_DECODED);
    CHECK_EQ(in.mem.base, -1);
    CHECK_EQ(in.mem.disp, 0xf234);
    CHECK_EQ(in.addrsize, 2);
    CHECK_EQ(decode(X86_16, BYTES(0x67, 0x66, 0x8b, 0x04, 0x25, 1, 2, 3, 4)), X86_DECODED);
    CHECK_EQ(in.addrsize, 4);
    CHECK_EQ(in.opsize, 4);
    CHECK_EQ(in.length, 9);
}

/* APM vol. 3, table 1-9, with a displacement of 8 bits. */
TEST(decode_16_bit_forms)
{
    static const struct {
        int base, index;
        unsigned segment;
    } form[8] = { { RBX, RSI, SEG_DS }, { RBX, RDI, SEG_DS }, { RBP, RSI, SEG_SS }, { RBP, RDI, SEG_SS },
                  { RSI, -1, SEG_DS },  { RDI, -1, SEG_DS },  { RBP, -1, SEG_SS },  { RBX, -1, SEG_DS } };
    for (unsigned rm = 0; rm < 8; rm++) {
        CHECK_EQ(decode(X86_16, BYTES(0x8b, (uint8_t)(0x40 | rm), 0x80)), X86_DECODED);
        CHECK_EQ(in.mem.base, form[rm].base);
        CHECK_EQ(in.mem.index, form[rm].index);
        CHECK_EQ(in.mem.segment, form[rm].segment);
        CHECK_EQ(in.mem.disp, -128);
        CHECK_EQ(in.length, 3);
    }
}

TEST(decode_rip_relative_in_64_bit_code_only)
{
    CHECK_EQ(decode(X86_64, BYTES(0x8b, 0x05, 0x10, 0, 0, 0)), X86_DECODED);
    CHECK(in.mem.rip_relative);
    CHECK_EQ(decode(X86_32, BYTES(0x8b, 0x05, 0x10, 0, 0, 0)), X86_DECODED);
    CHECK(!in.mem.rip_relative);
}

TEST(decode_default_operand_size_of_stack_and_branches)
{
    CHECK_EQ(decode(X86_64, BYTES(0x50)), X86_DECODED);
    CHECK_EQ(in.opsize, 8);
    CHECK_EQ(decode(X86_64, BYTES(0x66, 0x50)), X86_DECODED);
    CHECK_EQ(in.opsize, 2);
    CHECK_EQ(decode(X86_64, BYTES(0xe8, 1, 0, 0, 0)), X86_DECODED);
    CHECK_EQ(in.opsize, 8);
    CHECK_EQ(decode(X86_64, BYTES(0x66, 0xe8, 1, 0)), X86_DECODED); /* AMD: a displacement of 16 bits */
    CHECK_EQ(in.length, 4);
    CHECK_EQ(decode(X86_64, BYTES(0x8f, 0x00)), X86_DECODED); /* through a group */
    CHECK_EQ(in.opsize, 8);
}

TEST(decode_wide_immediates)
{
    CHECK_EQ(decode(X86_64, BYTES(0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8)), X86_DECODED);
    CHECK_EQ(in.imm, 0x0807060504030201);
    CHECK_EQ(decode(X86_64, BYTES(0x48, 0xc7, 0x00, 0xff, 0xff, 0xff, 0xff)), X86_DECODED);
    CHECK_EQ(in.imm, ~0ull);
    CHECK_EQ(decode(X86_64, BYTES(0xa1, 1, 2, 3, 4, 5, 6, 7, 8)), X86_DECODED);
    CHECK_EQ(in.mem.disp, 0x0807060504030201);
    CHECK_EQ(decode(X86_32, BYTES(0xea, 1, 2, 3, 4, 5, 6)), X86_DECODED);
    CHECK_EQ(in.imm, 0x04030201);
    CHECK_EQ(in.imm2, 0x0605);
    CHECK_EQ(decode(X86_64, BYTES(0xc8, 0x34, 0x12, 0x05)), X86_DECODED);
    CHECK_EQ(in.imm, 0x1234);
    CHECK_EQ(in.imm2, 5);
}

TEST(decode_rex_counts_only_right_before_the_opcode)
{
    CHECK_EQ(decode(X86_64, BYTES(0x48, 0x66, 0x89, 0xc1)), X86_DECODED);
    CHECK_EQ(in.opsize, 2);
    CHECK_EQ(in.rex, 0);
    CHECK_EQ(decode(X86_64, BYTES(0x66, 0x48, 0x89, 0xc1)), X86_DECODED);
    CHECK_EQ(in.opsize, 8);
}

TEST(decode_mandatory_prefixes_change_the_meaning)
{
    CHECK_EQ(decode(X86_64, BYTES(0x0f, 0x6f, 0x00)), X86_DECODED);
    CHECK_EQ(in.op, X86_OTHER); /* MMX */
    CHECK_EQ(decode(X86_64, BYTES(0x66, 0x0f, 0x6f, 0x00)), X86_DECODED);
    CHECK_EQ(in.op, X86_SSE_LOAD);
    CHECK_EQ(decode(X86_64, BYTES(0xf3, 0x0f, 0x7f, 0x00)), X86_DECODED);
    CHECK_EQ(in.op, X86_SSE_STORE);
    CHECK_EQ(decode(X86_64, BYTES(0xf3, 0x0f, 0x10, 0x00)), X86_DECODED);
    CHECK_EQ(in.op, X86_OTHER); /* movss */
    CHECK_EQ(decode(X86_64, BYTES(0xf3, 0x0f, 0xbc, 0xc1)), X86_DECODED);
    CHECK_EQ(in.op, X86_TZCNT);
}

TEST(decode_nop_pause_and_xchg_share_an_opcode)
{
    CHECK_EQ(decode(X86_64, BYTES(0x90)), X86_DECODED);
    CHECK_EQ(in.op, X86_NOP);
    CHECK_EQ(decode(X86_64, BYTES(0xf3, 0x90)), X86_DECODED);
    CHECK_EQ(in.op, X86_PAUSE);
    CHECK_EQ(decode(X86_64, BYTES(0x41, 0x90)), X86_DECODED);
    CHECK_EQ(in.op, X86_XCHG);
}

TEST(decode_lock_is_refused_without_a_memory_destination)
{
    CHECK_EQ(decode(X86_64, BYTES(0xf0, 0x01, 0x08)), X86_DECODED);
    CHECK(in.lock);
    CHECK_EQ(decode(X86_64, BYTES(0xf0, 0x01, 0xc8)), X86_INVALID);          /* register */
    CHECK_EQ(decode(X86_64, BYTES(0xf0, 0x89, 0x08)), X86_INVALID);          /* MOV */
    CHECK_EQ(decode(X86_64, BYTES(0xf0, 0x39, 0x08)), X86_INVALID);          /* CMP */
    CHECK_EQ(decode(X86_64, BYTES(0xf0, 0x0f, 0xba, 0x20, 1)), X86_INVALID); /* BT */
    CHECK_EQ(decode(X86_64, BYTES(0xf0, 0x0f, 0xba, 0x28, 1)), X86_DECODED); /* BTS */
    CHECK_EQ(decode(X86_64, BYTES(0xf0, 0x0f, 0xc7, 0x08)), X86_DECODED);    /* CMPXCHG8B */
}

TEST(decode_undefined_opcodes_are_invalid)
{
    CHECK_EQ(decode(X86_64, BYTES(0x06)), X86_INVALID); /* PUSH ES */
    CHECK_EQ(decode(X86_64, BYTES(0x60)), X86_INVALID); /* PUSHA */
    CHECK_EQ(decode(X86_64, BYTES(0x0f, 0x04)), X86_INVALID);
    CHECK_EQ(decode(X86_64, BYTES(0x8d, 0xc0)), X86_INVALID);             /* LEA of a register */
    CHECK_EQ(decode(X86_64, BYTES(0xfe, 0xd0)), X86_INVALID);             /* group 4 /2 */
    CHECK_EQ(decode(X86_64, BYTES(0x8c, 0xf0)), X86_INVALID);             /* segment register 6 */
    CHECK_EQ(decode(X86_64, BYTES(0x0f, 0x22, 0xc8)), X86_INVALID);       /* CR1 */
    CHECK_EQ(decode(X86_64, BYTES(0x44, 0x0f, 0x23, 0xc0)), X86_INVALID); /* DR8 */
    CHECK_EQ(decode(X86_64, BYTES(0x0f, 0x0b)), X86_DECODED);
    CHECK_EQ(in.op, X86_UD);
}

TEST(decode_extensions_without_known_length_are_unsupported)
{
    CHECK_EQ(decode(X86_64, BYTES(0x8f, 0xe8, 0x78, 0x00, 0x00)), X86_UNSUPPORTED); /* XOP */
    CHECK_EQ(decode(X86_64, BYTES(0x66, 0x0f, 0x78, 0xc0, 1, 2)), X86_UNSUPPORTED); /* EXTRQ */
}

TEST(decode_vex_and_les_share_an_opcode_outside_of_64_bit_code)
{
    CHECK_EQ(decode(X86_32, BYTES(0xc4, 0x08)), X86_DECODED);
    CHECK_EQ(in.op, X86_LOAD_FAR);
    CHECK_EQ(decode(X86_32, BYTES(0xc5, 0xf8, 0x77)), X86_DECODED); /* vzeroupper */
    CHECK_EQ(in.length, 3);
    CHECK_EQ(in.op, X86_OTHER);
}

TEST(decode_asks_for_more_bytes_up_to_the_length)
{
    static const uint8_t code[] = { 0x48, 0xc7, 0x84, 0x24, 1, 0, 0, 0, 2, 0, 0, 0 };
    for (unsigned n = 0; n < sizeof(code); n++) {
        CHECK_EQ(decode(X86_64, code, n), X86_NEED_MORE);
        CHECK(in.length > n && in.length <= sizeof(code));
    }
    CHECK_EQ(decode(X86_64, code, sizeof(code)), X86_DECODED);
    CHECK_EQ(in.length, sizeof(code));
}

TEST(decode_more_than_15_bytes_is_too_long)
{
    uint8_t code[20];
    memset(code, 0x66, sizeof(code));
    code[14] = 0x90;
    CHECK_EQ(decode(X86_64, code, 20), X86_DECODED);
    CHECK_EQ(in.length, 15);
    code[14] = 0x66;
    code[15] = 0x90;
    CHECK_EQ(decode(X86_64, code, 20), X86_TOO_LONG);
    CHECK_EQ(decode(X86_64, code, 15), X86_TOO_LONG);
    CHECK_EQ(decode(X86_64, code, 14), X86_NEED_MORE);
}

TEST(decode_mov_cr_ignores_mod)
{
    CHECK_EQ(decode(X86_64, BYTES(0x0f, 0x22, 0x1c)), X86_DECODED); /* mod 0, rm 4: no SIB */
    CHECK_EQ(in.length, 3);
    CHECK_EQ(in.operand[0].reg, 3);
    CHECK_EQ(in.operand[1].reg, RSP);
    CHECK_EQ(decode(X86_32, BYTES(0xf0, 0x0f, 0x20, 0xc1)), X86_DECODED); /* LOCK MOV CR0 is CR8 */
    CHECK_EQ(in.operand[1].reg, 8);
    CHECK_EQ(decode(X86_32, BYTES(0xf0, 0x0f, 0x20, 0xd9)), X86_INVALID);
}

TEST(cr_mov_short_look_agrees_with_the_decoder)
{
    for (unsigned i = 0; i < 0x10000; i++) { /* REX or not, direction, ModRM */
        uint8_t code[4] = { 0x40 | (i >> 12 & 15), 0x0f, (i >> 8 & 1) ? 0x22 : 0x20, (uint8_t)i };
        unsigned skip = i >> 9 & 1;
        enum x86_mode mode = (i >> 10 & 1) ? X86_64 : X86_32;
        struct x86_cr_mov mov;
        if (!skip && mode != X86_64)
            continue;
        bool known = decode(mode, code + skip, 4 - skip) == X86_DECODED;
        CHECK_EQ(x86_decode_cr_mov(code + skip, 4 - skip, mode, &mov), known);
        if (!known)
            continue;
        unsigned cr = mov.write ? 0 : 1;
        CHECK_EQ(mov.write, in.operand[0].kind == X86_CR);
        CHECK_EQ(mov.cr, in.operand[cr].reg);
        CHECK_EQ(mov.gpr, in.operand[1 - cr].reg);
        CHECK_EQ(mov.length, in.length);
    }
}

TEST(cr_mov_incomplete_bytes_are_refused)
{
    struct x86_cr_mov mov;
    CHECK(!x86_decode_cr_mov(BYTES(0x0f, 0x22), X86_64, &mov));
    CHECK(!x86_decode_cr_mov(BYTES(0x41, 0x0f, 0x22), X86_64, &mov));
    CHECK(!x86_decode_cr_mov(BYTES(0x0f, 0x23, 0xd8), X86_64, &mov));
}

TEST(length_is_zero_for_what_does_not_decode)
{
    CHECK_EQ(x86_length(BYTES(0x0f, 0xa2), X86_64), 2);
    CHECK_EQ(x86_length(BYTES(0x0f), X86_64), 0);
    CHECK_EQ(x86_length(BYTES(0x0f, 0x04), X86_64), 0);
}

TEST(op_names_are_in_place)
{
    CHECK_STR_EQ(x86_op_name(X86_OTHER), "OTHER");
    CHECK_STR_EQ(x86_op_name(X86_SSE_STORE), "SSE_STORE");
    CHECK_STR_EQ(x86_op_name(X86_OPS), "?");
}
