/* SPDX-License-Identifier: BSD-2-Clause */
/* The MSR table (APM vol. 2, appendix A; BIOS and Kernel Developer's Guide for family 0Fh). See msr.h for
 * what holds.
 *
 * In it are the architectural ones of the features that CPUID shows, and those of AMD processors that
 * operating systems touch without asking or without catching the fault: Linux 6.1 reads INT_PENDING and sets
 * HWCR.FFDIS so. Hidden features' (MTRR, MCA, x2APIC, SPEC_CTRL, TSC_AUX, SVM, performance counters) are #GP.
 */
#include "servers/vmm/policy/msr.h"
#include "servers/vmm/dev/lapic.h"

enum how {
    HOW_ZERO,  /* reads as `fixed`, writes are ignored */
    HOW_FIXED, /* reads as `fixed`, writes are #GP */
    HOW_STORE, /* remembers; bits outside `fixed` are #GP */
    HOW_APIC,  /* a field of msr_cpu: APIC_BASE, of which only the enable bit can change */
    HOW_PAT,
    HOW_TSC,
    HOW_TSC_ADJUST,
    HOW_EFER,
    HOW_PLAIN,     /* a field of msr_cpu, any value */
    HOW_CANONICAL, /* a field of msr_cpu, canonical addresses */
    HOW_DEADLINE,  /* the same, of a device */
    HOW_SFMASK,    /* a field of msr_cpu, 32 bits */
    HOW_KVM,       /* remembers an address, bits outside `fixed` are #GP; only if the guest is enlightened */
};

struct row {
    uint32_t first, last;
    uint8_t how;
    uint8_t store;  /* HOW_STORE, HOW_PAT: enum msr_store; a device's register: enum msr_device */
    uint16_t field; /* offset in struct msr_cpu */
    uint32_t groups;
    uint64_t fixed;
};

#define ONE(index)         .first = (index), .last = (index)
#define FIELD(name, state) .field = offsetof(struct msr_cpu, name), .groups = (state)
#define PAT_RESET          0x0007040600070406ull
#define APIC_BASE_FIXED    (LAPIC_BASE | LAPIC_BASE_BSP)
#define HWCR_TSC_FREQ      BIT(24) /* the TSC counts at the highest clock: operating systems ask */
#define KVM_ADDRESS        (BIT(GUEST_PHYS_BITS) - 4)
#define DE_CFG_LFENCE      BIT(1) /* LFENCE waits for everything before it */

static const struct row table[] = {
    { ONE(0x00000010), HOW_TSC, FIELD(tsc_offset, STATE_TSC) },
    { ONE(0x0000001b), HOW_APIC, MSR_DEVICE_APIC_BASE, FIELD(apic_base, 0) },
    { ONE(0x0000003b), HOW_TSC_ADJUST, STORE_TSC_ADJUST, FIELD(tsc_offset, STATE_TSC) },
    { ONE(0x0000008b), HOW_FIXED }, /* microcode patch level */
    { ONE(0x00000174), HOW_PLAIN, 0, FIELD(msrs.sysenter_cs, STATE_MSRS) },
    { ONE(0x00000175), HOW_PLAIN, 0, FIELD(msrs.sysenter_esp, STATE_MSRS) },
    { ONE(0x00000176), HOW_PLAIN, 0, FIELD(msrs.sysenter_eip, STATE_MSRS) },
    { ONE(0x000001d9), HOW_STORE, STORE_DEBUGCTL, .fixed = 0x3f }, /* DebugCtl */
    { .first = 0x1db, .last = 0x1de, .how = HOW_ZERO },            /* last branch and exception records */
    { ONE(0x00000277), HOW_PAT, STORE_PAT },
    { ONE(0x000006e0), HOW_DEADLINE, MSR_DEVICE_TSC_DEADLINE, FIELD(tsc_deadline, 0) },
    { ONE(0x4b564d00), HOW_KVM, STORE_KVM_WALL, .fixed = KVM_ADDRESS },
    { ONE(0x4b564d01), HOW_KVM, STORE_KVM_CLOCK, .fixed = KVM_ADDRESS | 1 },
    { ONE(0xc0000080), HOW_EFER, 0, FIELD(cr.efer, STATE_CONTROL) },
    { ONE(0xc0000081), HOW_PLAIN, 0, FIELD(msrs.star, STATE_MSRS) },
    { ONE(0xc0000082), HOW_CANONICAL, 0, FIELD(msrs.lstar, STATE_MSRS) },
    { ONE(0xc0000083), HOW_CANONICAL, 0, FIELD(msrs.cstar, STATE_MSRS) },
    { ONE(0xc0000084), HOW_SFMASK, 0, FIELD(msrs.sfmask, STATE_MSRS) },
    { ONE(0xc0000100), HOW_CANONICAL, 0, FIELD(fs_base, STATE_SEGMENTS) },
    { ONE(0xc0000101), HOW_CANONICAL, 0, FIELD(gs_base, STATE_SEGMENTS) },
    { ONE(0xc0000102), HOW_CANONICAL, 0, FIELD(msrs.kernel_gs_base, STATE_MSRS) },
    { ONE(0xc0010010), HOW_STORE, STORE_SYSCFG, .fixed = UINT64_MAX },
    { ONE(0xc0010015), HOW_STORE, STORE_HWCR, .fixed = UINT64_MAX },
    { ONE(0xc001001a), HOW_ZERO }, /* TOP_MEM, TOP_MEM2 */
    { ONE(0xc001001d), HOW_ZERO },
    { ONE(0xc001001f), HOW_ZERO },                                /* NB_CFG */
    { ONE(0xc0010055), HOW_ZERO },                                /* INT_PENDING */
    { .first = 0xc0011004, .last = 0xc0011005, .how = HOW_ZERO }, /* CPUID feature overrides */
    { ONE(0xc001100d), HOW_ZERO },
    { .first = 0xc0011020, .last = 0xc0011023, .how = HOW_ZERO }, /* LS_CFG, IC_CFG, DC_CFG, BU_CFG */
    { ONE(0xc0011029), HOW_STORE, STORE_DE_CFG, .fixed = UINT64_MAX },
    { ONE(0xc001102a), HOW_ZERO }, /* BU_CFG2 */
};

static const struct row *find(uint32_t index)
{
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (index >= table[i].first && index <= table[i].last)
            return &table[i];
    return NULL;
}

/* The row of an MSR that this processor has now; the deadline goes with its APIC, KVM's with its leaves. */
static const struct row *find_for(const struct msr_cpu *cpu, uint32_t index)
{
    const struct row *row = find(index);
    if (row && row->how == HOW_KVM && !cpu->enlighten)
        return NULL;
    return row && row->how == HOW_DEADLINE && !(cpu->apic_base & LAPIC_BASE_ENABLE) ? NULL : row;
}

static uint64_t *field_of(struct msr_cpu *cpu, const struct row *row)
{
    return (uint64_t *)((uint8_t *)cpu + row->field);
}

void msr_init(struct msr_state *s)
{
    *s = (struct msr_state){ 0 };
    s->store[STORE_PAT] = PAT_RESET;
    s->store[STORE_HWCR] = HWCR_TSC_FREQ;
    s->store[STORE_DE_CFG] = DE_CFG_LFENCE;
}

struct msr_outcome msr_read(const struct msr_state *s, const struct msr_cpu *cpu, uint32_t index,
                            uint64_t *value)
{
    const struct row *row = find_for(cpu, index);
    if (!row)
        return (struct msr_outcome){ .gp = true };
    switch (row->how) {
    case HOW_ZERO:
    case HOW_FIXED:
        *value = row->fixed;
        break;
    case HOW_STORE:
    case HOW_PAT:
    case HOW_TSC_ADJUST:
    case HOW_KVM:
        *value = s->store[row->store];
        break;
    case HOW_TSC:
        *value = cpu->now + cpu->tsc_offset;
        break;
    default:
        *value = *(const uint64_t *)((const uint8_t *)cpu + row->field);
    }
    return (struct msr_outcome){ .known = true };
}

static bool canonical(uint64_t v)
{
    return (uint64_t)((int64_t)(v << (64 - GUEST_LINEAR_BITS)) >> (64 - GUEST_LINEAR_BITS)) == v;
}

/* Eight memory types, each 0, 1 or 4..7 (APM vol. 2, 7.8.1). */
static bool pat_valid(uint64_t v)
{
    for (unsigned i = 0; i < 8; i++, v >>= 8)
        if ((v & 0xff) > 7 || (v & 0xff) == 2 || (v & 0xff) == 3)
            return false;
    return true;
}

/* May this value be written? EFER has its own rules. */
static bool value_allowed(const struct row *row, uint64_t v)
{
    switch (row->how) {
    case HOW_FIXED:
        return false;
    case HOW_APIC:
        return (v & ~LAPIC_BASE_ENABLE) == APIC_BASE_FIXED;
    case HOW_STORE:
    case HOW_KVM:
        return !(v & ~row->fixed);
    case HOW_PAT:
        return pat_valid(v);
    case HOW_CANONICAL:
        return canonical(v);
    case HOW_SFMASK:
        return !(v >> 32);
    default:
        return true;
    }
}

static void set_store(struct msr_state *s, struct dev_undo *undo, unsigned i, uint64_t v)
{
    dev_touch(undo, &s->store[i], sizeof(s->store[i]));
    s->store[i] = v;
}

/* Writing the TSC moves TSC_ADJUST by as much, and the other way round (SDM vol. 3, 17.17.3). */
static void write_tsc(struct msr_state *s, struct msr_cpu *cpu, struct dev_undo *undo, uint64_t by)
{
    cpu->tsc_offset += by;
    set_store(s, undo, STORE_TSC_ADJUST, s->store[STORE_TSC_ADJUST] + by);
}

struct msr_outcome msr_write(struct msr_state *s, struct msr_cpu *cpu, const struct cr_limits *limits,
                             struct dev_undo *undo, uint32_t index, uint64_t value)
{
    const struct row *row = find_for(cpu, index);
    struct msr_outcome out = { .known = row != NULL };
    if (!row || !value_allowed(row, value)) {
        out.gp = true;
        return out;
    }
    out.groups = row->groups;
    switch (row->how) {
    case HOW_ZERO:
        break;
    case HOW_STORE:
    case HOW_PAT:
        set_store(s, undo, row->store, value);
        break;
    case HOW_KVM:
        set_store(s, undo, row->store, value);
        out.device = row->store == STORE_KVM_WALL ? MSR_DEVICE_KVM_WALL : MSR_DEVICE_KVM_CLOCK;
        break;
    case HOW_TSC:
        write_tsc(s, cpu, undo, value - (cpu->now + cpu->tsc_offset));
        break;
    case HOW_TSC_ADJUST:
        write_tsc(s, cpu, undo, value - s->store[STORE_TSC_ADJUST]);
        break;
    case HOW_EFER:
        out.cr = cr_write_efer(&cpu->cr, limits, value);
        out.gp = out.cr.gp;
        out.groups = out.gp ? 0 : row->groups;
        cpu->cr = out.cr.next;
        break;
    case HOW_APIC:
    case HOW_DEADLINE:
        out.device = (enum msr_device)row->store;
        *field_of(cpu, row) = value;
        break;
    default:
        *field_of(cpu, row) = value;
    }
    return out;
}
