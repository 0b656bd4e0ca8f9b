/* SPDX-License-Identifier: BSD-2-Clause */
/* Loads of CR3 that the kernel serves: their encodings, and what decode assists say of them, against a
 * decoder that follows the manual byte by byte. */
#include "kernel/arch/x86_64/movcr3.h"
#include "check.h"

/* AMD APM vol. 3: an optional REX, 0F 22, ModRM. reg with REX.R is the control register, r/m with REX.B the
 * general one; mod, REX.W and REX.X do not matter. 0: not a load of CR3 of at most four bytes. */
static unsigned reference(const uint8_t *c, unsigned *gpr)
{
    uint8_t rex = c[0] >= 0x40 && c[0] <= 0x4f ? c[0] : 0;
    const uint8_t *op = rex ? c + 1 : c;
    unsigned control = (op[2] >> 3 & 7) | (rex & 4) << 1;

    if (op[0] != 0x0f || op[1] != 0x22 || control != 3)
        return 0;
    *gpr = (op[2] & 7) | (rex & 1) << 3;
    return (rex ? 1 : 0) + 3;
}

TEST(every_encoding_of_four_bytes_is_told)
{
    static const uint8_t second[] = { 0x0f, 0x22, 0x20, 0x23, 0x00, 0xff, 0x41 };
    unsigned found = 0;

    for (unsigned a = 0; a < 256; a++)
        for (unsigned b = 0; b < sizeof(second); b++)
            for (unsigned c = 0; c < 256; c++)
                for (unsigned d = 0; d < 256; d++) {
                    uint8_t code[4] = { a, second[b], c, d };
                    unsigned gpr = 99, want = 99, n = reference(code, &want);
                    uint32_t word = a | second[b] << 8 | c << 16 | (uint32_t)d << 24;
                    if (mov_to_cr3(word, &gpr) != n || (n && gpr != want)) {
                        check_note("%02x %02x %02x %02x", a, second[b], c, d);
                        CHECK_EQ(mov_to_cr3(word, &gpr), n);
                        CHECK_EQ(gpr, want);
                    }
                    found += n != 0;
                }
    CHECK_EQ(found,
             32 * 256 + 8 * 32); /* ModRM 11x: 4 mods, 8 registers; with REX: 8 without R, any ModRM /3 */
}

TEST(decode_assists_name_every_register)
{
    for (unsigned r = 0; r < 16; r++)
        for (unsigned length = 3; length <= 15; length++) {
            unsigned gpr = 99;
            CHECK_EQ(assisted_mov(BIT(63) | r, 0x1000, 0x1000 + length, &gpr), length);
            CHECK_EQ(gpr, r);
            CHECK_EQ(assisted_mov(BIT(63) | r, 0 - 4ul, length - 4ul, &gpr), length); /* over the end */
            CHECK_EQ(gpr, r);
        }
}

TEST(what_decode_assists_do_not_vouch_for_is_not_served)
{
    unsigned gpr;

    for (unsigned r = 0; r < 16; r++)
        CHECK_EQ(assisted_mov(r, 0x1000, 0x1003, &gpr), 0); /* not a MOV */
    CHECK_EQ(assisted_mov(0x7fffffffffffffff, 0x1000, 0x1003, &gpr), 0);
    for (unsigned length = 0; length < 3; length++)
        CHECK_EQ(assisted_mov(BIT(63), 0x1000, 0x1000 + length, &gpr), 0);
    CHECK_EQ(assisted_mov(BIT(63), 0x1000, 0x1010, &gpr), 0);
    CHECK_EQ(assisted_mov(BIT(63), 0x1000, 0xfff, &gpr), 0);
    CHECK_EQ(assisted_mov(BIT(63), 0x1000, 0, &gpr), 0); /* no next RIP was saved */
    CHECK_EQ(assisted_mov(BIT(63), 0x1000, 0x100001003, &gpr), 0);
    CHECK_EQ(assisted_mov(BIT(63) | 0x7ffffffffffffff0 | 5, 0x1000, 0x1003, &gpr), 3);
    CHECK_EQ(gpr, 5); /* bits that are reserved do not matter */
}
