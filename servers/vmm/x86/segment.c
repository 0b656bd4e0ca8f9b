/* SPDX-License-Identifier: BSD-2-Clause */
/* Segment registers: real-mode loads, and protected-mode loads without change of privilege (APM vol. 2, 4.7
 * to 4.10). Gates, task switches and transfers between levels are refused with X86_UNKNOWN. */
#include <servers/vmm/x86/internal.h>

#define SELECTOR_RPL    3u
#define SELECTOR_LDT    4u
#define ACCESSED_BYTE   5 /* offset of the type in a descriptor */
#define CONFORMING      X86_SEG_EXPANDDOWN
#define DPL(s)          ((s)->attributes >> X86_SEG_DPL_SHIFT & 3u)
#define ERROR_CODE(sel) ((sel) & ~SELECTOR_RPL)

static bool is_real(const struct x86_cpu *cpu)
{
    return !x86_protected(cpu);
}

/* Limit and attributes stay in real mode; virtual-8086 mode sets them (APM vol. 2, 4.5, 13.2). */
static struct umbra_segment real_segment(const struct x86_cpu *cpu, unsigned segment, uint16_t selector)
{
    struct umbra_segment s = cpu->seg[segment];
    s.selector = selector;
    s.base = (uint64_t)selector << 4;
    if (cpu->rflags & X86_FLAG_VM) {
        s.limit = 0xffff;
        s.attributes = 0xf3;
    }
    return s;
}

/* The table's entry as the VMCB keeps it. */
static struct umbra_segment unpack(uint16_t selector, uint64_t raw)
{
    struct umbra_segment s = { .selector = selector };
    s.limit = (uint32_t)((raw & 0xffff) | (raw >> 32 & 0xf0000));
    s.base = (raw >> 16 & 0xffffff) | (raw >> 32 & 0xff000000);
    s.attributes = (uint16_t)((raw >> 40 & 0xff) | (raw >> 44 & 0xf00));
    if (s.attributes & X86_SEG_G)
        s.limit = s.limit << 12 | 0xfff;
    return s;
}

static enum x86_result table_entry(struct emu *e, uint16_t selector, uint64_t *linear)
{
    const struct umbra_segment *table = &e->cpu->seg[selector & SELECTOR_LDT ? SEG_LDTR : SEG_GDTR];
    bool absent = (selector & SELECTOR_LDT) && !(table->attributes & X86_SEG_P);
    if (absent || (selector | 7u) > table->limit)
        return emu_raise_code(e, X86_VECTOR_GP, ERROR_CODE(selector));
    *linear = table->base + (selector & ~7u);
    return X86_DONE;
}

static enum x86_result read_descriptor(struct emu *e, uint16_t selector, struct umbra_segment *s)
{
    uint64_t linear = 0, raw = 0;
    enum x86_result r = table_entry(e, selector, &linear);
    if (r == X86_DONE)
        r = emu_read(e, linear, 8, &raw, X86_ACCESS_SYSTEM);
    if (r == X86_DONE)
        *s = unpack(selector, raw);
    return r;
}

/* The processor's own write, also at CPL 3. */
static enum x86_result set_accessed(struct emu *e, struct umbra_segment *s)
{
    struct x86_fault fault = { 0 };
    uint64_t linear = 0;
    if (s->attributes & X86_SEG_ACCESSED)
        return X86_DONE;
    enum x86_result r = table_entry(e, s->selector, &linear);
    if (r != X86_DONE)
        return r;
    s->attributes |= X86_SEG_ACCESSED;
    uint8_t type = (uint8_t)s->attributes;
    return emu_bus_outcome(
        e,
        e->bus->write(e->ctx, linear + ACCESSED_BYTE, 1, &type, X86_ACCESS_WRITE | X86_ACCESS_SYSTEM, &fault),
        &fault);
}

static enum x86_result check_stack(struct emu *e, const struct umbra_segment *s)
{
    unsigned cpl = e->cpu->cpl, rpl = s->selector & SELECTOR_RPL;
    bool writable = !(s->attributes & X86_SEG_CODE) && (s->attributes & X86_SEG_WRITABLE);
    if (!(s->attributes & X86_SEG_S) || !writable || rpl != cpl || DPL(s) != cpl)
        return emu_raise_code(e, X86_VECTOR_GP, ERROR_CODE(s->selector));
    if (!(s->attributes & X86_SEG_P))
        return emu_raise_code(e, X86_VECTOR_SS, ERROR_CODE(s->selector));
    return X86_DONE;
}

static enum x86_result check_data(struct emu *e, const struct umbra_segment *s)
{
    unsigned cpl = e->cpu->cpl, rpl = s->selector & SELECTOR_RPL;
    bool code = s->attributes & X86_SEG_CODE, readable = !code || (s->attributes & X86_SEG_WRITABLE);
    bool conforming = code && (s->attributes & CONFORMING);
    bool level = conforming || (DPL(s) >= cpl && DPL(s) >= rpl);
    if (!(s->attributes & X86_SEG_S) || !readable || !level)
        return emu_raise_code(e, X86_VECTOR_GP, ERROR_CODE(s->selector));
    if (!(s->attributes & X86_SEG_P))
        return emu_raise_code(e, X86_VECTOR_NP, ERROR_CODE(s->selector));
    return X86_DONE;
}

/* A null selector is fine but for SS outside of 64-bit supervisor code. */
static enum x86_result load_null(struct emu *e, unsigned segment, uint16_t selector)
{
    unsigned cpl = e->cpu->cpl;
    if (segment == SEG_SS && (e->insn->mode != X86_64 || cpl == 3 || selector != cpl))
        return emu_raise(e, X86_VECTOR_GP);
    e->cpu->seg[segment] = (struct umbra_segment){ .selector = selector };
    if (segment == SEG_SS) /* its DPL is the CPL for the processor */
        e->cpu->seg[segment].attributes = (uint16_t)(cpl << X86_SEG_DPL_SHIFT);
    return X86_DONE;
}

enum x86_result emu_load_segment(struct emu *e, unsigned segment, uint16_t selector)
{
    struct umbra_segment s;
    if (is_real(e->cpu)) {
        e->cpu->seg[segment] = real_segment(e->cpu, segment, selector);
        return X86_DONE;
    }
    if (!(selector & ~SELECTOR_RPL))
        return load_null(e, segment, selector);
    enum x86_result r = read_descriptor(e, selector, &s);
    if (r == X86_DONE)
        r = segment == SEG_SS ? check_stack(e, &s) : check_data(e, &s);
    if (r == X86_DONE)
        r = set_accessed(e, &s);
    if (r == X86_DONE)
        e->cpu->seg[segment] = s;
    return r;
}

static enum x86_result check_code_level(struct emu *e, const struct umbra_segment *s, bool returning)
{
    unsigned cpl = e->cpu->cpl, rpl = s->selector & SELECTOR_RPL;
    bool conforming = s->attributes & CONFORMING;
    if (!(s->attributes & X86_SEG_S) && !returning)
        return X86_UNKNOWN; /* a gate or TSS */
    if (returning && rpl > cpl)
        return X86_UNKNOWN; /* to an outer level */
    bool level = conforming ? DPL(s) <= cpl : DPL(s) == cpl && (returning ? rpl == cpl : rpl <= cpl);
    bool both = (e->cpu->efer & X86_EFER_LMA) && (s->attributes & X86_SEG_L) && (s->attributes & X86_SEG_DB);
    if (!(s->attributes & X86_SEG_S) || !(s->attributes & X86_SEG_CODE) || !level || both ||
        (returning && rpl < cpl))
        return emu_raise_code(e, X86_VECTOR_GP, ERROR_CODE(s->selector));
    if (!(s->attributes & X86_SEG_P))
        return emu_raise_code(e, X86_VECTOR_NP, ERROR_CODE(s->selector));
    return X86_DONE;
}

enum x86_result emu_check_code(struct emu *e, uint16_t selector, uint64_t offset, bool returning,
                               struct umbra_segment *cs)
{
    enum x86_result r = X86_DONE;
    if (is_real(e->cpu)) {
        *cs = real_segment(e->cpu, SEG_CS, selector);
    } else if (!(selector & ~SELECTOR_RPL)) {
        return emu_raise(e, X86_VECTOR_GP);
    } else {
        r = read_descriptor(e, selector, cs);
        if (r == X86_DONE)
            r = check_code_level(e, cs, returning);
    }
    if (r != X86_DONE)
        return r;
    bool long_code = (e->cpu->efer & X86_EFER_LMA) && (cs->attributes & X86_SEG_L);
    bool good = long_code ? x86_canonical(offset) : offset <= cs->limit;
    return good ? X86_DONE : emu_raise(e, X86_VECTOR_GP);
}

enum x86_result emu_load_code(struct emu *e, const struct umbra_segment *cs)
{
    struct umbra_segment s = *cs;
    if (!is_real(e->cpu)) {
        enum x86_result r = set_accessed(e, &s);
        if (r != X86_DONE)
            return r;
        s.selector = (uint16_t)((s.selector & ~SELECTOR_RPL) | e->cpu->cpl);
    }
    e->cpu->seg[SEG_CS] = s;
    return X86_DONE;
}
