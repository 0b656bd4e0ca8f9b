/* SPDX-License-Identifier: BSD-2-Clause */
/* What a write to a control register or EFER does: a pure decision (APM vol. 2, 3.1, 14.6).
 *
 * Invariants: a refused write (#GP) changes nothing; LMA = LME & PG after every accepted one; the guest's CRs
 * never hold a reserved bit. Reading page-table bases (PDPTEs), and acting on the result, is the caller's. */
#ifndef VMM_POLICY_CR_H
#define VMM_POLICY_CR_H

#include <umbra/types.h>
#include "servers/vmm/policy/cpuid.h"

#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)

#define CR4_TSD        BIT(2)
#define CR4_DE         BIT(3)
#define CR4_PSE        BIT(4)
#define CR4_PAE        BIT(5)
#define CR4_PGE        BIT(7)
#define CR4_PCE        BIT(8)
#define CR4_OSFXSR     BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_FSGSBASE   BIT(16)
#define CR4_SMEP       BIT(20)
#define CR4_SMAP       BIT(21)

#define EFER_SCE  BIT(0)
#define EFER_LME  BIT(8)
#define EFER_LMA  BIT(10)
#define EFER_NXE  BIT(11)
#define EFER_SVME BIT(12)

struct cr_state {
    uint64_t cr0, cr3, cr4, cr8, efer;
    bool cs_long; /* CS.L: in 64-bit mode if LMA, too */
};

/* What this guest's processor has, from its CPUID. */
struct cr_limits {
    uint64_t cr4_valid, efer_valid;
    uint64_t cr3_long_reserved; /* bits that must be zero in a long-mode CR3 */
};
#define CR3_LONG_RESERVED (~(BIT(GUEST_PHYS_BITS) - 1))
struct cr_limits cr_limits_of(const struct cpuid_host *host);

enum paging { PAGING_NONE, PAGING_32, PAGING_PAE, PAGING_LONG };
enum paging cr_paging(const struct cr_state *s);

enum cr_flush {
    CR_FLUSH_NONE,
    CR_FLUSH_NON_GLOBAL, /* translations without G */
    CR_FLUSH_ALL,
};

struct cr_result {
    bool gp; /* #GP(0); next is the old state */
    struct cr_state next;
    enum cr_flush flush;
    bool paging_changed; /* another paging mode: shadow tables of the old one are of no use */
    bool rights_changed; /* WP, SMEP, SMAP or NXE: the same tables now mean other rights */
    bool load_pdptes; /* PAE paging: read the four PDPTEs from next.cr3 now; a reserved bit in a present one
                         is #GP and next must not be taken */
};

struct cr_result cr_write_cr0(const struct cr_state *s, uint64_t value);
struct cr_result cr_write_cr3(const struct cr_state *s, const struct cr_limits *limits, uint64_t value);
struct cr_result cr_write_cr4(const struct cr_state *s, const struct cr_limits *limits, uint64_t value);
struct cr_result cr_write_cr8(const struct cr_state *s, uint64_t value);
struct cr_result cr_write_efer(const struct cr_state *s, const struct cr_limits *limits, uint64_t value);

/* cr_lmsw, cr_clts - the old instructions that write parts of CR0. */
struct cr_result cr_lmsw(const struct cr_state *s, uint16_t value);
struct cr_result cr_clts(const struct cr_state *s);

#endif
