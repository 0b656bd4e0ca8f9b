/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's processor as CPUID describes it: an AMD family 17 (11h) with what today's user programs look
 * for.
 *
 * A pure function of the leaf and the host's own values; of the guest's state only APIC_BASE shows
 * (cpuid_hide_apic), because XSAVE is hidden. Invariants: a feature bit shows only if the host has it and the
 * VMM (or plain execution) provides it; never SVM, XSAVE and AVX, PCID, INVPCID, LA57, x2APIC, MONITOR,
 * RDTSCP, MTRR, MCE; hypervisor only if the guest is to be told (enlighten). Why family 17:
 * docs/decisions.md. */
#ifndef VMM_POLICY_CPUID_H
#define VMM_POLICY_CPUID_H

#include <umbra/types.h>

#define CPUID_SIGNATURE   0x00200f32u /* family 17, model 3, stepping 2 */
#define GUEST_PHYS_BITS   40 /* CPUID 8000_0008h; reserved-bit checks of CR3 and page tables go by it */
#define GUEST_LINEAR_BITS 48

struct cpuid_regs {
    uint32_t eax, ebx, ecx, edx;
};

/* The host's values for the leaves of cpuid_host_leaf, in that order; flat. */
#define CPUID_HOST_ROWS 3
struct cpuid_host {
    struct cpuid_regs row[CPUID_HOST_ROWS];
    uint32_t enlighten; /* no value of the host: the guest sees KVM's leaves, and the clock that they name */
    uint32_t reserved;
};

/* cpuid_host_leaf - the leaf (subleaf 0) to read on the host for row i. */
uint32_t cpuid_host_leaf(unsigned i);

/* cpuid_guest - what CPUID gives the guest. Leaves beyond the last are all zero, as on AMD processors. */
struct cpuid_regs cpuid_guest(const struct cpuid_host *host, uint32_t leaf, uint32_t subleaf);

/* cpuid_hide_apic - takes away from a leaf what is not there while APIC_BASE has the APIC disabled. */
void cpuid_hide_apic(uint32_t leaf, struct cpuid_regs *regs);

/* cpuid_missing - 0, or the first thing without which no 64-bit operating system starts, as text for a
 * person. */
const char *cpuid_missing(const struct cpuid_host *host);

#endif
