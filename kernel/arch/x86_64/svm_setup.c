/* SPDX-License-Identifier: BSD-2-Clause */
/* SVM switched on, if the processor has it, and a vCPU's first state. */
#include "asid.h"
#include "svm_vcpu.h"
#include "log.h"
#include "softtlb.h"

#define CPUID_HYPERVISOR 0x40000000
#define TCG_MAKER_B      0x54474354 /* "TCGTCGTCGTCG" in EBX, ECX, EDX */
#define TCG_MAKER_C      0x43544743

static uint8_t host_save[PAGE_BYTES] __attribute__((aligned(4096)));
static uint8_t io_map[3 * PAGE_BYTES] __attribute__((aligned(4096)));
static uint8_t msr_map[2 * PAGE_BYTES] __attribute__((aligned(4096)));
uint8_t svm_host_vmcb[PAGE_BYTES] __attribute__((aligned(4096)));
struct svm svm;

bool arch_vm_supported(void)
{
    return svm.supported;
}

bool arch_nested_supported(void)
{
    return svm.supported && svm.nested;
}

/* MSRs that VMLOAD and VMSAVE swap go to the guest; all others exit (APM vol. 2, 15.11: two bits an MSR). */
static void msr_pass(uint32_t msr)
{
    uint32_t bit = msr >= 0xc0010000   ? 0x2000 * 2 + (msr & 0x1fff)
                   : msr >= 0xc0000000 ? 0x2000 + (msr & 0x1fff)
                                       : msr;

    msr_map[bit / 4] &= ~(3u << bit % 4 * 2);
}

void svm_init(void)
{
    static const uint32_t swapped[] = { MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE, MSR_STAR,
                                        MSR_LSTAR,   MSR_CSTAR,   MSR_SFMASK,         0x174,
                                        0x175,       0x176 };

    if (cpuid(0x80000000, 0).a < 0x8000000a || !(cpuid(0x80000001, 0).c & BIT(2))) {
        log_printf("umbra: this processor has no SVM: no VMs\n");
        return;
    }
    if (rdmsr(MSR_VM_CR) & BIT(4)) {
        log_printf("umbra: SVM is disabled by the firmware: enable it in the setup; no VMs\n");
        return;
    }
    struct cpuid f = cpuid(0x8000000a, 0), seven = cpuid(7, 0);
    struct cpuid maker = cpuid(CPUID_HYPERVISOR, 0);
    if (f.b < 2) { /* asid.h; 0 is the host's */
        log_printf("umbra: this processor has no ASID for a guest: no VMs\n");
        return;
    }
    svm.is_tcg = (cpuid(1, 0).c & BIT(31)) && maker.b == TCG_MAKER_B && maker.c == TCG_MAKER_C;
    svm.nested = f.d & BIT(0);
    svm.nrip = f.d & BIT(3);
    svm.flush_asid = f.d & BIT(6);
    svm.assists = f.d & BIT(7);
    svm.mov_assist = svm.nrip && svm.assists;
    svm.says_more = svm.nrip || svm.assists;
    svm.asids = f.b < ASIDS ? f.b : ASIDS;
    __builtin_memset(io_map, 0xff, sizeof(io_map));
    __builtin_memset(msr_map, 0xff, sizeof(msr_map));
    for (unsigned i = 0; i < sizeof(swapped) / sizeof(swapped[0]); i++)
        msr_pass(swapped[i]);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
    wrmsr(MSR_VM_HSAVE_PA, kernel_hpa(host_save).v);
    __asm__ volatile("vmsave %%rax" : : "a"(kernel_hpa(svm_host_vmcb).v) : "memory");
    svm.cr4_allowed = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT |
                      (seven.b & BIT(0) ? CR4_FSGSBASE : 0) | (seven.b & BIT(7) ? CR4_SMEP : 0) |
                      (seven.b & BIT(20) ? CR4_SMAP : 0) | (seven.c & BIT(2) ? CR4_UMIP : 0);
    svm.supported = true;
    softtlb_asids(svm.asids);
    log_printf("umbra: SVM revision %u, %u ASIDs%s%s%s%s\n", f.a & 0xff, svm.asids,
               svm.nested ? ", nested paging" : "", svm.nrip ? ", next RIP" : "",
               svm.assists ? ", decode assists" : "", svm.flush_asid ? ", flush by ASID" : "");
}

/* The processor's reset state (APM vol. 2, table 14-1), but paged real mode. */
void arch_vcpu_init(struct vcpu *v)
{
    struct vmcb *b = vmcb_of(v);

    v->vmcb_hpa = phys_to_hpa(b);
    b->intercept_dr = 0xffffffff;
    b->intercept2 = SVM_INTERCEPT2;
    b->iopm = kernel_hpa(io_map).v;
    b->msrpm = kernel_hpa(msr_map).v;
    b->vintr = V_INTR_MASKING;   /* the guest's IF does not mask the host's interrupts */
    b->pat = 0x0606060606060606; /* write back */
    v->cr0 = 0x60000010;
    for (unsigned i = 0; i < SEGS; i++)
        b->seg[i] = (struct umbra_segment){ 0, i == SEG_LDTR ? 0x82 : i == SEG_TR ? 0x8b : 0x93, 0xffff, 0 };
    b->seg[SEG_CS] = (struct umbra_segment){ 0xf000, 0x9b, 0xffff, 0xffff0000 };
    b->rip = 0xfff0;
    b->rflags = 2;
    b->dr6 = 0xffff0ff0;
    b->dr7 = 0x400;
    arch_vcpu_paging(v, false);
    v->exit.version = UMBRA_EXIT_VERSION;
    v->exit.gpr[RDX] = 0x600;
    arch_fpu_init(v->fpu);
}
