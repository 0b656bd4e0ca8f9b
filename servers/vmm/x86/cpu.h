/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest processor as decoder and emulator see it: a flat, pointer-free copy of its registers, held by the
 * caller. Names of architectural bits that the library needs (APM vol. 2, chapter 3).
 *
 * Control registers and EFER are what the guest believes, not what the hardware runs with. */
#ifndef VMM_X86_CPU_H
#define VMM_X86_CPU_H

#include <umbra/types.h>
#include <umbra/vcpu.h>

#define X86_FLAG_CF     BIT(0)
#define X86_FLAG_FIXED  BIT(1) /* reads as one */
#define X86_FLAG_PF     BIT(2)
#define X86_FLAG_AF     BIT(4)
#define X86_FLAG_ZF     BIT(6)
#define X86_FLAG_SF     BIT(7)
#define X86_FLAG_TF     BIT(8)
#define X86_FLAG_IF     BIT(9)
#define X86_FLAG_DF     BIT(10)
#define X86_FLAG_OF     BIT(11)
#define X86_FLAG_IOPL   (BIT(12) | BIT(13))
#define X86_FLAG_NT     BIT(14)
#define X86_FLAG_RF     BIT(16)
#define X86_FLAG_VM     BIT(17)
#define X86_FLAG_AC     BIT(18)
#define X86_FLAG_VIF    BIT(19)
#define X86_FLAG_VIP    BIT(20)
#define X86_FLAG_ID     BIT(21)
#define X86_FLAG_STATUS (X86_FLAG_CF | X86_FLAG_PF | X86_FLAG_AF | X86_FLAG_ZF | X86_FLAG_SF | X86_FLAG_OF)

#define X86_CR0_PE      BIT(0)
#define X86_CR0_MP      BIT(1)
#define X86_CR0_EM      BIT(2)
#define X86_CR0_TS      BIT(3)
#define X86_CR0_PG      BIT(31)
#define X86_CR4_VME     BIT(0)
#define X86_CR4_TSD     BIT(2)
#define X86_CR4_DE      BIT(3)
#define X86_CR4_PCE     BIT(8)
#define X86_CR4_OSFXSR  BIT(9)
#define X86_CR4_UMIP    BIT(11)
#define X86_CR4_OSXSAVE BIT(18)
#define X86_CR4_SMAP    BIT(21)
#define X86_EFER_LMA    BIT(10)
#define X86_DR6_BD      BIT(13)
#define X86_DR6_BS      BIT(14)
#define X86_DR7_GD      BIT(13)

/* umbra_segment.attributes (APM vol. 2, 4.7 and 15.5.1) */
#define X86_SEG_ACCESSED   BIT(0)
#define X86_SEG_WRITABLE   BIT(1) /* data; for code: readable */
#define X86_SEG_EXPANDDOWN BIT(2) /* data; for code: conforming */
#define X86_SEG_CODE       BIT(3)
#define X86_SEG_S          BIT(4)
#define X86_SEG_DPL_SHIFT  5
#define X86_SEG_P          BIT(7)
#define X86_SEG_L          BIT(9)
#define X86_SEG_DB         BIT(10)
#define X86_SEG_G          BIT(11)

/* Exception vectors (APM vol. 2, table 8-1) */
enum x86_vector {
    X86_VECTOR_DE = 0,
    X86_VECTOR_DB = 1,
    X86_VECTOR_UD = 6,
    X86_VECTOR_NM = 7,
    X86_VECTOR_NP = 11,
    X86_VECTOR_SS = 12,
    X86_VECTOR_GP = 13,
    X86_VECTOR_PF = 14
};

struct x86_cpu {
    uint64_t gpr[GPRS], rip, rflags;
    uint64_t cr0, cr2, cr3, cr4, cr8, efer;
    uint64_t dr[4], dr6, dr7;
    struct umbra_segment seg[SEGS];
    uint8_t cpl;
    uint8_t shadow; /* interrupt shadow: interrupts stay off for one more instruction */
    uint8_t reserved[6];
};

/* Width of the code that CS selects; the value is the size of an offset in bytes. */
enum x86_mode { X86_16 = 2, X86_32 = 4, X86_64 = 8 };

static inline bool x86_protected(const struct x86_cpu *cpu)
{
    return (cpu->cr0 & X86_CR0_PE) && !(cpu->rflags & X86_FLAG_VM);
}

static inline enum x86_mode x86_mode(const struct x86_cpu *cpu)
{
    uint16_t cs = cpu->seg[SEG_CS].attributes;
    if ((cpu->efer & X86_EFER_LMA) && (cs & X86_SEG_L))
        return X86_64;
    if (cpu->rflags & X86_FLAG_VM && cpu->cr0 & X86_CR0_PE)
        return X86_16;
    return (cs & X86_SEG_DB) ? X86_32 : X86_16;
}

/* 48-bit linear addresses: guests never see LA57. */
static inline bool x86_canonical(uint64_t linear)
{
    return (uint64_t)((int64_t)(linear << 16) >> 16) == linear;
}

#endif
