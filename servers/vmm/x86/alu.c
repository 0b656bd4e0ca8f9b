/* SPDX-License-Identifier: BSD-2-Clause */
/* Arithmetic and its flags as pure functions (APM vol. 3, chapter 3). Flags that the manual leaves undefined
 * get some value; every defined one is held by the native oracle, tests/host/x86/test_native.c. */
#include <servers/vmm/x86/internal.h>

static uint64_t replace(uint64_t flags, uint64_t which, uint64_t values)
{
    return (flags & ~which) | (values & which);
}

uint64_t alu_szp(unsigned size, uint64_t value)
{
    uint64_t flags = __builtin_parity((unsigned)(value & 0xff)) ? 0 : X86_FLAG_PF;
    if (!(value & low_mask(size)))
        flags |= X86_FLAG_ZF;
    if (value & sign_bit(size))
        flags |= X86_FLAG_SF;
    return flags;
}

static struct alu add(unsigned size, uint64_t a, uint64_t b, unsigned carry, uint64_t flags)
{
    uint64_t r = (a + b + carry) & low_mask(size), set = alu_szp(size, r), top = sign_bit(size);
    if (((a & b) | ((a | b) & ~r)) & top)
        set |= X86_FLAG_CF;
    if ((a ^ r) & (b ^ r) & top)
        set |= X86_FLAG_OF;
    set |= (a ^ b ^ r) & X86_FLAG_AF;
    return (struct alu){ r, replace(flags, X86_FLAG_STATUS, set) };
}

static struct alu sub(unsigned size, uint64_t a, uint64_t b, unsigned borrow, uint64_t flags)
{
    uint64_t r = (a - b - borrow) & low_mask(size), set = alu_szp(size, r), top = sign_bit(size);
    if (((~a & b) | ((~a | b) & r)) & top)
        set |= X86_FLAG_CF;
    if ((a ^ b) & (a ^ r) & top)
        set |= X86_FLAG_OF;
    set |= (a ^ b ^ r) & X86_FLAG_AF;
    return (struct alu){ r, replace(flags, X86_FLAG_STATUS, set) };
}

static struct alu logic(unsigned size, uint64_t r, uint64_t flags)
{
    r &= low_mask(size);
    return (struct alu){ r, replace(flags, X86_FLAG_STATUS, alu_szp(size, r)) };
}

struct alu alu_add(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    return add(size, a, b, 0, flags);
}

struct alu alu_adc(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    return add(size, a, b, flags & X86_FLAG_CF, flags);
}

struct alu alu_sub(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    return sub(size, a, b, 0, flags);
}

struct alu alu_sbb(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    return sub(size, a, b, flags & X86_FLAG_CF, flags);
}

struct alu alu_and(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    return logic(size, a & b, flags);
}

struct alu alu_or(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    return logic(size, a | b, flags);
}

struct alu alu_xor(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    return logic(size, a ^ b, flags);
}

/* INC and DEC leave CF alone. */
struct alu alu_inc(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    (void)b;
    struct alu r = add(size, a, 1, 0, flags);
    return (struct alu){ r.value, replace(r.flags, X86_FLAG_CF, flags) };
}

struct alu alu_dec(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    (void)b;
    struct alu r = sub(size, a, 1, 0, flags);
    return (struct alu){ r.value, replace(r.flags, X86_FLAG_CF, flags) };
}

struct alu alu_neg(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    (void)b;
    return sub(size, 0, a, 0, flags);
}

struct alu alu_not(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    (void)b;
    return (struct alu){ ~a & low_mask(size), flags };
}

struct alu alu_exchange(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    (void)a;
    return (struct alu){ b & low_mask(size), flags };
}

struct alu alu_bt(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    return (struct alu){ a, replace(flags, X86_FLAG_CF, a >> b % (8 * size) & 1) };
}

struct alu alu_bts(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    return (struct alu){ a | 1ull << b % (8 * size), alu_bt(size, a, b, flags).flags };
}

struct alu alu_btr(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    return (struct alu){ a & ~(1ull << b % (8 * size)), alu_bt(size, a, b, flags).flags };
}

struct alu alu_btc(unsigned size, uint64_t a, uint64_t b, uint64_t flags)
{
    return (struct alu){ a ^ 1ull << b % (8 * size), alu_bt(size, a, b, flags).flags };
}

/* Condition codes come in pairs, the odd one negated (APM vol. 3, Jcc). */
bool alu_condition(unsigned cond, uint64_t flags)
{
    bool cf = flags & X86_FLAG_CF, zf = flags & X86_FLAG_ZF, sf = flags & X86_FLAG_SF;
    bool of = flags & X86_FLAG_OF, pf = flags & X86_FLAG_PF, holds = false;
    switch (cond >> 1) {
    case 0:
        holds = of;
        break;
    case 1:
        holds = cf;
        break;
    case 2:
        holds = zf;
        break;
    case 3:
        holds = cf || zf;
        break;
    case 4:
        holds = sf;
        break;
    case 5:
        holds = pf;
        break;
    case 6:
        holds = sf != of;
        break;
    case 7:
        holds = zf || sf != of;
        break;
    }
    return holds != (bool)(cond & 1);
}
