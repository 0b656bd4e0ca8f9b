/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's model-specific registers: which exist, what they hold, what writing them does.
 *
 * Invariants: an MSR that is not in the table is #GP, as on a processor that lacks it; values that the
 * architecture forbids are #GP and change nothing; no MSR of the guest reaches the host's. Registers that the
 * processor swaps itself (STAR, FS.base, ..) are here, too, because emulated code and debuggers come this
 * way. */
#ifndef VMM_POLICY_MSR_H
#define VMM_POLICY_MSR_H

#include <umbra/vcpu.h>
#include "servers/vmm/dev/dev.h"
#include "servers/vmm/policy/cr.h"

enum msr_store {
    STORE_PAT,
    STORE_TSC_ADJUST,
    STORE_HWCR,
    STORE_SYSCFG,
    STORE_DE_CFG,
    STORE_DEBUGCTL,
    STORE_KVM_WALL,
    STORE_KVM_CLOCK,
    MSR_STORES
};

/* Lies in the state segment. */
struct msr_state {
    uint64_t store[MSR_STORES];
};

/* Where the others are: a copy of the vCPU's, which the caller writes back by `groups`. */
struct msr_cpu {
    uint64_t now;        /* the devices' clock (dev.h) */
    uint64_t tsc_offset; /* guest TSC = now + tsc_offset */
    struct cr_state cr;  /* EFER; CR0.PG for its checks */
    uint64_t fs_base, gs_base;
    struct umbra_msrs msrs;
    uint64_t apic_base;    /* the local APIC's (dev/lapic.h) */
    uint64_t tsc_deadline; /* as it reads; written, the APIC decides whether it takes it */
    bool enlighten;        /* the guest has KVM's clock */
};

/* Whose device register a write is for. */
enum msr_device {
    MSR_DEVICE_NONE,
    MSR_DEVICE_APIC_BASE,
    MSR_DEVICE_TSC_DEADLINE,
    MSR_DEVICE_KVM_WALL, /* no device: memory is to be written (core/kvmclock.c) */
    MSR_DEVICE_KVM_CLOCK
};

struct msr_outcome {
    bool gp;                /* #GP(0); nothing changed */
    bool known;             /* false: not in the table. For a log */
    uint32_t groups;        /* STATE_*: what of msr_cpu changed */
    enum msr_device device; /* a device's register was written, and stands in msr_cpu */
    struct cr_result cr;    /* what a write to EFER means; all zero for others */
};

void msr_init(struct msr_state *s);
struct msr_outcome msr_read(const struct msr_state *s, const struct msr_cpu *cpu, uint32_t index,
                            uint64_t *value);
struct msr_outcome msr_write(struct msr_state *s, struct msr_cpu *cpu, const struct cr_limits *limits,
                             struct dev_undo *undo, uint32_t index, uint64_t value);

#endif
