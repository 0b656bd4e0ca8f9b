/* SPDX-License-Identifier: BSD-2-Clause */
/* Multiplication and division. Twice as wide values are pairs of uint64_t, so that no compiler library is
 * needed. */
#include <servers/vmm/x86/internal.h>

struct wide {
    uint64_t high, low;
};

static struct wide negate(struct wide w)
{
    return (struct wide){ ~w.high + (w.low == 0), ~w.low + 1 };
}

static struct wide multiply(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (struct wide){ (uint64_t)(product >> 64), (uint64_t)product };
}

static struct wide multiply_signed(uint64_t a, uint64_t b)
{
    uint64_t ua = (int64_t)a < 0 ? -a : a, ub = (int64_t)b < 0 ? -b : b;
    struct wide product = multiply(ua, ub);
    return (int64_t)(a ^ b) < 0 ? negate(product) : product;
}

/* Does the product's upper part say more than the lower's sign or zeros. */
static bool overflows(struct wide p, unsigned size, bool is_signed)
{
    uint64_t low = p.low & low_mask(size), extended = is_signed ? sign_extend(low, size) : low;
    uint64_t above = is_signed && (int64_t)extended < 0 ? ~0ull : 0;
    return p.low != extended || p.high != above;
}

static void set_product_flags(struct x86_cpu *cpu, unsigned size, uint64_t low, bool overflow)
{
    x86_set_status(cpu, alu_szp(size, low) | (overflow ? X86_FLAG_CF | X86_FLAG_OF : 0));
}

/* rDX:rAX, or AX for bytes. */
static struct wide get_pair(const struct x86_cpu *cpu, unsigned size)
{
    if (size == 1)
        return (struct wide){ 0, x86_gpr_get(cpu, RAX, 2) };
    if (size == 8)
        return (struct wide){ cpu->gpr[RDX], cpu->gpr[RAX] };
    return (struct wide){ 0, x86_gpr_get(cpu, RAX, size) | x86_gpr_get(cpu, RDX, size) << 8 * size };
}

static void set_pair(struct x86_cpu *cpu, unsigned size, uint64_t high, uint64_t low)
{
    if (size == 1) {
        x86_gpr_set(cpu, RAX, 2, (low & 0xff) | high << 8);
        return;
    }
    x86_gpr_set(cpu, RAX, size, low);
    x86_gpr_set(cpu, RDX, size, high);
}

enum x86_result emu_do_mul(struct emu *e)
{
    unsigned size = e->insn->operand[0].size;
    bool is_signed = e->insn->op == X86_IMUL;
    uint64_t a = x86_gpr_get(e->cpu, RAX, size), b;
    enum x86_result r = emu_operand_read(e, 0, &b);
    if (r != X86_DONE)
        return r;
    struct wide p = is_signed ? multiply_signed(sign_extend(a, size), sign_extend(b, size)) : multiply(a, b);
    set_pair(e->cpu, size, size == 8 ? p.high : p.low >> 8 * size, p.low);
    set_product_flags(e->cpu, size, p.low, overflows(p, size, is_signed));
    return X86_DONE;
}

enum x86_result emu_do_imul2(struct emu *e)
{
    unsigned size = e->insn->operand[0].size;
    uint64_t a, b;
    enum x86_result r = emu_operand_read(e, 1, &a);
    if (r == X86_DONE)
        r = emu_operand_read(e, e->insn->operands == 3 ? 2 : 0, &b);
    if (r != X86_DONE)
        return r;
    struct wide p = multiply_signed(sign_extend(a, size), sign_extend(b, size));
    emu_operand_write(e, 0, p.low);
    set_product_flags(e->cpu, size, p.low, overflows(p, size, true));
    return X86_DONE;
}

/* Needs n.high < divisor: the quotient fits. One bit a round. */
static uint64_t divide(struct wide n, uint64_t divisor, uint64_t *remainder)
{
    uint64_t rest = n.high, quotient = 0;
    for (int bit = 63; bit >= 0; bit--) {
        bool carry = rest >> 63;
        rest = rest << 1 | (n.low >> bit & 1);
        quotient <<= 1;
        if (carry || rest >= divisor) {
            rest -= divisor;
            quotient |= 1;
        }
    }
    *remainder = rest;
    return quotient;
}

static bool divide_unsigned(struct wide n, uint64_t divisor, unsigned size, uint64_t *quotient,
                            uint64_t *rest)
{
    if (n.high >= divisor)
        return false;
    *quotient = divide(n, divisor, rest);
    return *quotient <= low_mask(size);
}

/* Sign of the remainder: that of the dividend. n is sign-extended to 128 bits, divisor to 64. */
static bool divide_signed(struct wide n, uint64_t divisor, unsigned size, uint64_t *quotient, uint64_t *rest)
{
    bool negative_n = (int64_t)n.high < 0, negative_d = (int64_t)divisor < 0;
    if (negative_n)
        n = negate(n);
    if (!divide_unsigned(n, negative_d ? -divisor : divisor, 8, quotient, rest))
        return false;
    uint64_t most = sign_bit(size) - (negative_n == negative_d);
    if (*quotient > most)
        return false;
    if (negative_n != negative_d)
        *quotient = -*quotient;
    if (negative_n)
        *rest = -*rest;
    return true;
}

static struct wide extend_pair(struct wide n, unsigned size)
{
    if (size == 8)
        return n;
    n.low = sign_extend(n.low, 2 * size);
    n.high = (int64_t)n.low < 0 ? ~0ull : 0;
    return n;
}

enum x86_result emu_do_div(struct emu *e)
{
    unsigned size = e->insn->operand[0].size;
    struct wide n = get_pair(e->cpu, size);
    uint64_t divisor, quotient, rest;
    enum x86_result r = emu_operand_read(e, 0, &divisor);
    if (r != X86_DONE)
        return r;
    bool fits = e->insn->op == X86_DIV
                    ? divide_unsigned(n, divisor, size, &quotient, &rest)
                    : divide_signed(extend_pair(n, size), sign_extend(divisor, size), size, &quotient, &rest);
    if (!fits)
        return emu_raise(e, X86_VECTOR_DE);
    set_pair(e->cpu, size, rest, quotient);
    return X86_DONE;
}
