/* SPDX-License-Identifier: BSD-2-Clause */
/* Shifts and rotates as pure functions (APM vol. 3, chapter 3). The count is masked as the processor does; a
 * masked count of 0 changes no flag. OF is defined for a count of 1 only. */
#include <servers/vmm/x86/internal.h>

static unsigned mask_count(unsigned size, uint64_t count)
{
    return (unsigned)count & (size == 8 ? 63 : 31);
}

static uint64_t with_cf_of(uint64_t flags, bool cf, bool of)
{
    flags &= ~(X86_FLAG_CF | X86_FLAG_OF);
    return flags | (cf ? X86_FLAG_CF : 0) | (of ? X86_FLAG_OF : 0);
}

static uint64_t shift_flags(unsigned size, uint64_t value, uint64_t flags, bool cf, bool of)
{
    return with_cf_of((flags & ~X86_FLAG_STATUS) | alu_szp(size, value), cf, of);
}

struct alu alu_rol(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    unsigned count = mask_count(size, b), bits = 8 * size, n = count % bits;
    uint64_t r = n ? (a << n | a >> (bits - n)) & low_mask(size) : a;
    if (!count)
        return (struct alu){ a, flags };
    bool cf = r & 1;
    return (struct alu){ r, with_cf_of(flags, cf, cf != (bool)(r & sign_bit(size))) };
}

struct alu alu_ror(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    unsigned count = mask_count(size, b), bits = 8 * size, n = count % bits;
    uint64_t r = n ? (a >> n | a << (bits - n)) & low_mask(size) : a;
    if (!count)
        return (struct alu){ a, flags };
    bool top = r & sign_bit(size), next = r & sign_bit(size) >> 1;
    return (struct alu){ r, with_cf_of(flags, top, top != next) };
}

/* Through the carry: one bit at a time is plain enough, 63 at most. */
struct alu alu_rcl(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    unsigned count = mask_count(size, b) % (8 * size + 1);
    bool cf = flags & X86_FLAG_CF;
    for (unsigned i = 0; i < count; i++) {
        bool top = a & sign_bit(size);
        a = (a << 1 | cf) & low_mask(size);
        cf = top;
    }
    if (!count)
        return (struct alu){ a, flags };
    return (struct alu){ a, with_cf_of(flags, cf, cf != (bool)(a & sign_bit(size))) };
}

struct alu alu_rcr(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    unsigned count = mask_count(size, b) % (8 * size + 1);
    bool cf = flags & X86_FLAG_CF;
    for (unsigned i = 0; i < count; i++) {
        bool bottom = a & 1;
        a = a >> 1 | (cf ? sign_bit(size) : 0);
        cf = bottom;
    }
    if (!count)
        return (struct alu){ a, flags };
    bool top = a & sign_bit(size), next = a & sign_bit(size) >> 1;
    return (struct alu){ a, with_cf_of(flags, cf, top != next) };
}

struct alu alu_shl(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    unsigned count = mask_count(size, b), bits = 8 * size;
    if (!count)
        return (struct alu){ a, flags };
    uint64_t r = count < bits ? (a << count) & low_mask(size) : 0;
    bool cf = count <= bits && (a >> (bits - count) & 1);
    return (struct alu){ r, shift_flags(size, r, flags, cf, cf != (bool)(r & sign_bit(size))) };
}

struct alu alu_shr(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    unsigned count = mask_count(size, b), bits = 8 * size;
    if (!count)
        return (struct alu){ a, flags };
    uint64_t r = count < bits ? a >> count : 0;
    bool cf = count <= bits && (a >> (count - 1) & 1);
    return (struct alu){ r, shift_flags(size, r, flags, cf, a & sign_bit(size)) };
}

struct alu alu_sar(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    unsigned count = mask_count(size, b);
    if (!count)
        return (struct alu){ a, flags };
    int64_t wide = (int64_t)sign_extend(a, size);
    uint64_t r = (uint64_t)(wide >> count) & low_mask(size);
    return (struct alu){ r, shift_flags(size, r, flags, wide >> (count - 1) & 1, false) };
}

/* A count above the operand size leaves everything undefined: 16-bit operands only. */
struct alu alu_shld(unsigned size, uint64_t a, uint64_t fill, unsigned count, uint64_t flags)
{
    unsigned bits = 8 * size;
    count = mask_count(size, count);
    if (!count || count > bits)
        return (struct alu){ a, flags };
    uint64_t r = count < bits ? (a << count | fill >> (bits - count)) & low_mask(size) : fill;
    return (struct alu){ r, shift_flags(size, r, flags, a >> (bits - count) & 1, (a ^ r) & sign_bit(size)) };
}

struct alu alu_shrd(unsigned size, uint64_t a, uint64_t fill, unsigned count, uint64_t flags)
{
    unsigned bits = 8 * size;
    count = mask_count(size, count);
    if (!count || count > bits)
        return (struct alu){ a, flags };
    uint64_t r = count < bits ? (a >> count | fill << (bits - count)) & low_mask(size) : fill;
    return (struct alu){ r, shift_flags(size, r, flags, a >> (count - 1) & 1, (a ^ r) & sign_bit(size)) };
}
