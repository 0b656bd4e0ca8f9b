/* SPDX-License-Identifier: BSD-2-Clause */
/* Control register writes. See cr.h for what holds. */
#include "servers/vmm/policy/cr.h"

#define CR0_VALID                                                                                            \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)
#define CR0_LMSW (CR0_PE | CR0_MP | CR0_EM | CR0_TS)

#define CR4_ALWAYS (CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT)
#define CR4_MODE   (CR4_PSE | CR4_PAE | CR4_PGE) /* changing one flushes all (APM vol. 2, 5.5.2) */
#define CR4_RIGHTS (CR4_SMEP | CR4_SMAP)

struct cr_limits cr_limits_of(const struct cpuid_host *host)
{
    uint32_t features = cpuid_guest(host, 7, 0).ebx, extended = cpuid_guest(host, 0x80000001, 0).edx;
    struct cr_limits l = { .cr4_valid = CR4_ALWAYS,
                           .efer_valid = EFER_SCE | EFER_LME | EFER_LMA,
                           .cr3_long_reserved = CR3_LONG_RESERVED };
    l.cr4_valid |= features & BIT(0) ? CR4_FSGSBASE : 0;
    l.cr4_valid |= features & BIT(7) ? CR4_SMEP : 0;
    l.cr4_valid |= features & BIT(20) ? CR4_SMAP : 0;
    l.efer_valid |= extended & BIT(20) ? EFER_NXE : 0;
    return l;
}

enum paging cr_paging(const struct cr_state *s)
{
    if (!(s->cr0 & CR0_PG))
        return PAGING_NONE;
    if (s->efer & EFER_LMA)
        return PAGING_LONG;
    return s->cr4 & CR4_PAE ? PAGING_PAE : PAGING_32;
}

static struct cr_result refuse(const struct cr_state *s)
{
    return (struct cr_result){ .gp = true, .next = *s };
}

/* What follows from a change of state, whichever register it came from. */
static struct cr_result accept(const struct cr_state *old, const struct cr_state *next)
{
    struct cr_result r = { .next = *next };
    uint64_t cr0 = old->cr0 ^ next->cr0, cr4 = old->cr4 ^ next->cr4, efer = old->efer ^ next->efer;
    enum paging mode = cr_paging(next);
    r.paging_changed = mode != cr_paging(old);
    r.rights_changed = (cr0 & CR0_WP) || (cr4 & CR4_RIGHTS) || (efer & EFER_NXE);
    if ((cr0 & CR0_PG) || (cr4 & CR4_MODE))
        r.flush = CR_FLUSH_ALL;
    r.load_pdptes =
        mode == PAGING_PAE && ((cr0 & (CR0_PG | CR0_CD | CR0_NW)) || (cr4 & (CR4_MODE | CR4_SMEP)));
    return r;
}

struct cr_result cr_write_cr0(const struct cr_state *s, uint64_t value)
{
    struct cr_state next = *s;
    bool pg = value & CR0_PG, was_pg = s->cr0 & CR0_PG;
    bool long_code = (s->efer & EFER_LMA) && s->cs_long;
    if (value >> 32 || (pg && !(value & CR0_PE)) || ((value & CR0_NW) && !(value & CR0_CD)))
        return refuse(s);
    if (pg && !was_pg && (s->efer & EFER_LME) && (!(s->cr4 & CR4_PAE) || s->cs_long))
        return refuse(s); /* entering long mode needs PAE and a code segment that is not 64-bit yet */
    if (!pg && long_code)
        return refuse(s); /* leaving it goes through compatibility mode */
    next.cr0 = (value & CR0_VALID) | CR0_ET;
    next.efer = pg && (s->efer & EFER_LME) ? s->efer | EFER_LMA : s->efer & ~EFER_LMA;
    return accept(s, &next);
}

struct cr_result cr_write_cr3(const struct cr_state *s, const struct cr_limits *limits, uint64_t value)
{
    struct cr_state next = *s;
    if ((s->efer & EFER_LMA) && (value & limits->cr3_long_reserved))
        return refuse(s);
    next.cr3 = value;
    struct cr_result r = accept(s, &next);
    if (cr_paging(s) != PAGING_NONE)
        r.flush = s->cr4 & CR4_PGE ? CR_FLUSH_NON_GLOBAL : CR_FLUSH_ALL;
    r.load_pdptes = cr_paging(s) == PAGING_PAE;
    return r;
}

struct cr_result cr_write_cr4(const struct cr_state *s, const struct cr_limits *limits, uint64_t value)
{
    struct cr_state next = *s;
    if ((value & ~limits->cr4_valid) || ((s->efer & EFER_LMA) && !(value & CR4_PAE)))
        return refuse(s);
    next.cr4 = value;
    return accept(s, &next);
}

struct cr_result cr_write_cr8(const struct cr_state *s, uint64_t value)
{
    struct cr_state next = *s;
    if (value > 15)
        return refuse(s);
    next.cr8 = value;
    return accept(s, &next);
}

struct cr_result cr_write_efer(const struct cr_state *s, const struct cr_limits *limits, uint64_t value)
{
    struct cr_state next = *s;
    if ((value & ~limits->efer_valid) || ((s->cr0 & CR0_PG) && ((value ^ s->efer) & EFER_LME)))
        return refuse(s);
    next.efer = (value & ~EFER_LMA) | (s->efer & EFER_LMA); /* LMA is the processor's */
    return accept(s, &next);
}

struct cr_result cr_lmsw(const struct cr_state *s, uint16_t value)
{
    uint64_t set = value & CR0_LMSW, keep = s->cr0 & (~CR0_LMSW | CR0_PE); /* PE can be set, not cleared */
    return cr_write_cr0(s, keep | set);
}

struct cr_result cr_clts(const struct cr_state *s)
{
    return cr_write_cr0(s, s->cr0 & ~CR0_TS);
}
