/* SPDX-License-Identifier: BSD-2-Clause */
/* CPUID leaves (APM vol. 3, appendix E). See cpuid.h for what holds. */
#include "servers/vmm/policy/cpuid.h"

#define LAST_LEAF     7u
#define LAST_EXTENDED 0x80000008u

#define VENDOR_B 0x68747541u /* "Auth" */
#define VENDOR_D 0x69746e65u /* "enti" */
#define VENDOR_C 0x444d4163u /* "cAMD" */

enum { ROW_1, ROW_7, ROW_EXTENDED_1 };

#define B(n) (1u << (n))

/* Leaf 1. ECX: SSE3 PCLMULQDQ SSSE3 CMPXCHG16B SSE4.1 SSE4.2 MOVBE POPCNT AES RDRAND. */
#define ECX_1          (B(0) | B(1) | B(9) | B(13) | B(19) | B(20) | B(22) | B(23) | B(25) | B(30))
#define ECX_1_DEADLINE B(24) /* TSC deadline: the local APIC is the VMM's own */
/* EDX: FPU DE PSE TSC MSR PAE CMPXCHG8B SYSENTER PGE CMOV PAT PSE36 CLFLUSH MMX FXSR SSE SSE2. */
#define EDX_1                                                                                                \
    (B(0) | B(2) | B(3) | B(4) | B(5) | B(6) | B(8) | B(11) | B(13) | B(15) | B(16) | B(17) | B(19) |        \
     B(23) | B(24) | B(25) | B(26))
#define EDX_APIC   B(9) /* leaves 1 and 8000_0001h */
#define EAX_6_ARAT B(2) /* the APIC's timer never stops */
/* Leaf 7. EBX: FSGSBASE BMI1 SMEP BMI2 ERMS RDSEED ADX SMAP CLFLUSHOPT SHA; EDX: fast short REP MOV. */
#define EBX_7 (B(0) | B(3) | B(7) | B(8) | B(9) | B(18) | B(19) | B(20) | B(23) | B(29))
#define EDX_7 B(4)
#define EBX_7_TSC_ADJUST                                                                                     \
    B(1) /* the VMM's own: with it Linux trusts an invariant TSC without a watchdog clock */
/* Leaf 8000_0001h. ECX: LAHF in long mode, LZCNT, SSE4A, misaligned SSE, PREFETCH. */
#define ECX_EXTENDED (B(0) | B(5) | B(6) | B(7) | B(8))
/* EDX: SYSCALL NX MMXEXT LM; and those of leaf 1 that are repeated here. */
#define EDX_EXTENDED (B(11) | B(20) | B(22) | B(29))
#define EDX_REPEATED 0x0183f3ffu

#define EBX_CLFLUSH_64    0x0800u /* leaf 1: flush size in 8 bytes, bits 8..15 */
#define EDX_INVARIANT_TSC B(8)    /* leaf 8000_0007h: the VMM's promise */

/* What Linux knows a hypervisor by (Documentation/virt/kvm/x86/cpuid.rst): the signature "KVMKVMKVM", the
 * last leaf, features. */
#define ECX_1_HYPERVISOR B(31)
#define LEAF_KVM         0x40000000u
#define KVM_B            0x4b4d564bu
#define KVM_C            0x564b4d56u
#define KVM_D            0x4du
#define KVM_NOP_IO_DELAY B(1) /* a write to a port is no delay: the guest makes none */
#define KVM_CLOCK        B(3) /* by the MSRs of policy/msr.c */
#define KVM_CLOCK_STABLE B(24)

uint32_t cpuid_host_leaf(unsigned i)
{
    static const uint32_t leaf[CPUID_HOST_ROWS] = { [ROW_1] = 1, [ROW_7] = 7, [ROW_EXTENDED_1] = 0x80000001 };
    return i < CPUID_HOST_ROWS ? leaf[i] : 0;
}

static struct cpuid_regs leaf_1(const struct cpuid_host *host)
{
    const struct cpuid_regs *h = &host->row[ROW_1];
    return (struct cpuid_regs){ CPUID_SIGNATURE, EBX_CLFLUSH_64,
                                (h->ecx & ECX_1) | ECX_1_DEADLINE | (host->enlighten ? ECX_1_HYPERVISOR : 0),
                                (h->edx & EDX_1) | EDX_APIC };
}

static struct cpuid_regs leaf_7(const struct cpuid_host *host)
{
    const struct cpuid_regs *h = &host->row[ROW_7];
    return (struct cpuid_regs){ 0, (h->ebx & EBX_7) | EBX_7_TSC_ADJUST, 0, h->edx & EDX_7 };
}

static struct cpuid_regs leaf_extended_1(const struct cpuid_host *host)
{
    const struct cpuid_regs *h = &host->row[ROW_EXTENDED_1];
    uint32_t repeated = leaf_1(host).edx & EDX_REPEATED;
    return (struct cpuid_regs){ CPUID_SIGNATURE, 0, h->ecx & ECX_EXTENDED,
                                (h->edx & EDX_EXTENDED) | repeated };
}

/* 48 characters in three leaves. */
static struct cpuid_regs leaf_name(uint32_t leaf)
{
    static const char name[48] = "AMD processor (Umbra virtual machine)";
    uint32_t word[4] = { 0 };
    for (uint32_t i = 0; i < 16; i++)
        word[i / 4] |= (uint32_t)(uint8_t)name[(leaf - 0x80000002) * 16 + i] << i % 4 * 8;
    return (struct cpuid_regs){ word[0], word[1], word[2], word[3] };
}

static struct cpuid_regs leaf_kvm(uint32_t leaf)
{
    if (leaf == LEAF_KVM)
        return (struct cpuid_regs){ LEAF_KVM + 1, KVM_B, KVM_C, KVM_D };
    return (struct cpuid_regs){ leaf == LEAF_KVM + 1 ? KVM_NOP_IO_DELAY | KVM_CLOCK | KVM_CLOCK_STABLE : 0, 0,
                                0, 0 };
}

struct cpuid_regs cpuid_guest(const struct cpuid_host *host, uint32_t leaf, uint32_t subleaf)
{
    switch (leaf) {
    case 0:
        return (struct cpuid_regs){ LAST_LEAF, VENDOR_B, VENDOR_C, VENDOR_D };
    case 1:
        return leaf_1(host);
    case 6:
        return (struct cpuid_regs){ EAX_6_ARAT, 0, 0, 0 };
    case 7:
        return subleaf ? (struct cpuid_regs){ 0 } : leaf_7(host);
    case 0x80000000:
        return (struct cpuid_regs){ LAST_EXTENDED, VENDOR_B, VENDOR_C, VENDOR_D };
    case 0x80000001:
        return leaf_extended_1(host);
    case 0x80000002:
    case 0x80000003:
    case 0x80000004:
        return leaf_name(leaf);
    case 0x80000005: /* L1: TLBs of 8 large and 32 small pages; 64 KiB each of data and code, 2 ways, 64-byte
                        lines */
        return (struct cpuid_regs){ 0xff08ff08, 0xff20ff20, 0x40020140, 0x40020140 };
    case 0x80000006: /* L2: TLBs of 512 small pages; 512 KiB, 16 ways */
        return (struct cpuid_regs){ 0, 0x42004200, 0x02008140, 0 };
    case 0x80000007:
        return (struct cpuid_regs){ 0, 0, 0, EDX_INVARIANT_TSC };
    case 0x80000008:
        return (struct cpuid_regs){ GUEST_LINEAR_BITS << 8 | GUEST_PHYS_BITS, 0, 0, 0 };
    default:
        return host->enlighten ? leaf_kvm(leaf) : (struct cpuid_regs){ 0 };
    }
}

void cpuid_hide_apic(uint32_t leaf, struct cpuid_regs *regs)
{
    if (leaf == 1)
        regs->ecx &= ~ECX_1_DEADLINE;
    if (leaf == 1 || leaf == 0x80000001)
        regs->edx &= ~EDX_APIC;
    if (leaf == 6)
        regs->eax &= ~EAX_6_ARAT;
}

const char *cpuid_missing(const struct cpuid_host *host)
{
    static const struct {
        uint32_t leaf, edx;
        const char *text;
    } need[] = {
        { 1, B(0), "a floating-point unit" },
        { 1, B(4), "a time-stamp counter" },
        { 1, B(6), "PAE" },
        { 1, B(24), "FXSAVE" },
        { 1, B(26), "SSE2" },
        { 0x80000001, B(20), "NX" },
        { 0x80000001, B(29), "long mode" },
        { 0x80000001, B(11), "SYSCALL" },
    };
    for (unsigned i = 0; i < sizeof(need) / sizeof(need[0]); i++)
        if (!(cpuid_guest(host, need[i].leaf, 0).edx & need[i].edx))
            return need[i].text;
    return NULL;
}
