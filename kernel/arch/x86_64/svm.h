/* SPDX-License-Identifier: BSD-2-Clause */
/* The VMCB (APM vol. 2, appendix B) and exit codes (appendix C). Layout only. */
#ifndef KERNEL_SVM_H
#define KERNEL_SVM_H

#include <umbra/vcpu.h>

struct __attribute__((packed)) vmcb {
    uint32_t intercept_cr, intercept_dr, intercept_exceptions, intercept1, intercept2, intercept3; /* 000 */
    uint8_t pad0[0x40 - 0x18];
    uint64_t iopm, msrpm, tsc_offset;                                  /* 040 */
    uint32_t asid, tlb_control;                                        /* 058 */
    uint64_t vintr, shadow;                                            /* 060 */
    uint64_t exit_code, exit_info1, exit_info2, exit_int_info, nested; /* 070 */
    uint8_t pad1[0xa8 - 0x98];
    uint64_t event, nested_cr3, lbr, clean, next_rip; /* 0a8 */
    uint8_t bytes_fetched, bytes[15];                 /* 0d0 */
    uint8_t pad2[0x3e0 - 0xe0];
    uint64_t kept_rip, kept_seq; /* 3e0: the host's own to use; svm.c keep_shadow() */
    uint8_t kept, pad2b[0x400 - 0x3f1];
    struct umbra_segment seg[SEGS]; /* 400: ES CS SS DS FS GS GDTR LDTR IDTR TR */
    uint8_t pad3[0x4cb - 0x4a0];
    uint8_t cpl;
    uint32_t pad4;
    uint64_t efer; /* 4d0 */
    uint8_t pad5[0x548 - 0x4d8];
    uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip; /* 548 */
    uint8_t pad6[0x5d8 - 0x580];
    uint64_t rsp;
    uint8_t pad7[0x5f8 - 0x5e0];
    uint64_t rax, star, lstar, cstar, sfmask, kernel_gs_base, sysenter_cs, sysenter_esp, sysenter_eip,
        cr2; /* 5f8 */
    uint8_t pad8[0x668 - 0x648];
    uint64_t pat, debug_control;
};
BUILD_ASSERT(offsetof(struct vmcb, iopm) == 0x40);
BUILD_ASSERT(offsetof(struct vmcb, exit_code) == 0x70);
BUILD_ASSERT(offsetof(struct vmcb, event) == 0xa8);
BUILD_ASSERT(offsetof(struct vmcb, next_rip) == 0xc8);
BUILD_ASSERT(offsetof(struct vmcb, kept_rip) == 0x3e0);
BUILD_ASSERT(offsetof(struct vmcb, seg) == 0x400);
BUILD_ASSERT(offsetof(struct vmcb, cpl) == 0x4cb);
BUILD_ASSERT(offsetof(struct vmcb, efer) == 0x4d0);
BUILD_ASSERT(offsetof(struct vmcb, cr4) == 0x548);
BUILD_ASSERT(offsetof(struct vmcb, rip) == 0x578);
BUILD_ASSERT(offsetof(struct vmcb, rsp) == 0x5d8);
BUILD_ASSERT(offsetof(struct vmcb, rax) == 0x5f8);
BUILD_ASSERT(offsetof(struct vmcb, cr2) == 0x640);
BUILD_ASSERT(offsetof(struct vmcb, pat) == 0x668);

/* all but CR2, reads in the lower half and writes in the upper */
#define SVM_INTERCEPT_CR  (uint32_t)(0xffffffff & ~(BIT(2) | BIT(18)))
#define SVM_INTERCEPT_CR3 (uint32_t)(BIT(3) | BIT(19))
/* #PF #DB #AC #MC #DF */
#define SVM_INTERCEPT_EXCEPTIONS (uint32_t)(BIT(14) | BIT(1) | BIT(17) | BIT(18) | BIT(8))
/* INTR NMI SMI INIT VINTR, RDPMC, CPUID RSM, INVD, HLT INVLPG INVLPGA IO MSR task-switch, shutdown */
#define SVM_INTERCEPT1_VINTR  (uint32_t) BIT(4)
#define SVM_INTERCEPT1_INVLPG (uint32_t) BIT(25)
#define SVM_INTERCEPT1                                                                                       \
    (uint32_t)(0x1f | BIT(15) | BIT(18) | BIT(19) | BIT(22) | BIT(24) | BIT(25) | BIT(26) | BIT(27) |        \
               BIT(28) | BIT(29) | BIT(31))
/* VMRUN VMMCALL VMLOAD VMSAVE STGI CLGI SKINIT RDTSCP, WBINVD MONITOR MWAIT MWAIT-armed XSETBV RDPRU */
#define SVM_INTERCEPT2 (uint32_t)(0xff | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(14))

enum {
    SVM_EXIT_CR3_WRITE = 0x13,
    SVM_EXIT_CR_LAST = 0x1f,
    SVM_EXIT_DR_LAST = 0x3f,
    SVM_EXIT_EXCEPTION = 0x40,
    SVM_EXIT_PAGE_FAULT = 0x4e,
    SVM_EXIT_EXCEPTION_LAST = 0x5f,
    SVM_EXIT_INTR = 0x60,
    SVM_EXIT_INIT = 0x63,
    SVM_EXIT_VINTR = 0x64,
    SVM_EXIT_RDTSC = 0x6e,
    SVM_EXIT_RDPMC = 0x6f,
    SVM_EXIT_CPUID = 0x72,
    SVM_EXIT_RSM = 0x73,
    SVM_EXIT_INVD = 0x76,
    SVM_EXIT_HLT = 0x78,
    SVM_EXIT_INVLPG = 0x79,
    SVM_EXIT_INVLPGA = 0x7a,
    SVM_EXIT_IOIO = 0x7b,
    SVM_EXIT_MSR = 0x7c,
    SVM_EXIT_TASK_SWITCH = 0x7d,
    SVM_EXIT_SHUTDOWN = 0x7f,
    SVM_EXIT_VMRUN = 0x80,
    SVM_EXIT_SKINIT = 0x86,
    SVM_EXIT_RDTSCP = 0x87,
    SVM_EXIT_WBINVD = 0x89,
    SVM_EXIT_MONITOR = 0x8a,
    SVM_EXIT_MWAIT = 0x8b,
    SVM_EXIT_MWAIT_COND = 0x8c,
    SVM_EXIT_XSETBV = 0x8d,
    SVM_EXIT_RDPRU = 0x8e,
    SVM_EXIT_NPF = 0x400,
};
#define SVM_EXIT_INVALID 0xffffffffu

#endif
