/* SPDX-License-Identifier: BSD-2-Clause */
/* What is switched between threads lazily: the FPU. The rest is in switch.h.
 *
 * cpu.fpu_owner names the area whose contents are in the registers; CR0.TS is set whenever the running thread
 * is not the owner, so nobody reads another's FPU state. A guest's stays in the registers while its VMM runs.
 */
#include "cpu.h"
#include "log.h"
#include "x86.h"

bool has_fsgsbase;
uint64_t cr0_trapping;
static bool has_xsave;
static bool keeps_pointers; /* restoring x87 state leaves the last instruction's addresses as they are */
static uint8_t fpu_initial[FPU_BYTES] __attribute__((aligned(64)));

static void fpu_save(void *area)
{
    if (has_xsave)
        __asm__ volatile("xsave64 (%0)" : : "r"(area), "a"(7), "d"(0) : "memory");
    else
        __asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
}

/* Where x87 state has no exception pending, AMD's processors before RstrFpErrPtrs (CPUID 8000_0008h EBX[2])
 * do not restore the addresses of the last instruction: the next guest would see this one's. So they become
 * the kernel's, the same for all. */
static void hide_pointers(void)
{
    static const uint32_t nothing;

    __asm__ volatile("fnclex; emms; fildl %0" : : "m"(nothing));
}

static void fpu_restore(const void *area)
{
    if (keeps_pointers)
        hide_pointers();
    if (has_xsave)
        __asm__ volatile("xrstor64 (%0)" : : "r"(area), "a"(7), "d"(0) : "memory");
    else
        __asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
}

void fpu_own(void *area)
{
    if (cpu.fpu_owner == area)
        return;
    COUNT(FPU_SWITCHES);
    arch_fpu_trap(false);
    if (cpu.fpu_owner)
        fpu_save(cpu.fpu_owner);
    fpu_restore(area);
    cpu.fpu_owner = area;
}

/* #NM with TS set: the thread gets its FPU state. */
bool arch_exception(struct tcb *t, unsigned vector)
{
    ASSERT(!(read_flags() & (RFLAGS_AC | RFLAGS_DF | RFLAGS_NT)));
    if (vector != 7 || !cpu.fpu_trapped)
        return false;
    fpu_own(t->fpu);
    arch_fpu_trap(false);
    return true;
}

void arch_fpu_init(void *area)
{
    const void *from = fpu_initial;
    uint64_t n = FPU_BYTES / 8;

    __asm__ volatile("rep movsq" : "+D"(area), "+S"(from), "+c"(n) : : "memory");
}

void arch_fpu_drop(void *area)
{
    if (cpu.fpu_owner == area) {
        cpu.fpu_owner = NULL;
        arch_fpu_trap(true);
    }
}

void fpu_init(void)
{
    uint64_t cr4 = read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT;
    struct cpuid one = cpuid(1, 0);
    const uint32_t mxcsr = 0x1f80;

    has_xsave = one.c & BIT(26);
    has_fsgsbase = cpuid(7, 0).b & BIT(0);
    keeps_pointers = cpuid(0x80000000, 0).a < 0x80000008 || !(cpuid(0x80000008, 0).b & BIT(2));
    cr4 |= (has_xsave ? CR4_OSXSAVE : 0) | (has_fsgsbase ? CR4_FSGSBASE : 0);
    write_cr4(cr4);
    if (has_xsave) {
        uint32_t components = one.c & BIT(28) ? 7 : 3;
        __asm__ volatile("xsetbv" : : "a"(components), "d"(0), "c"(0));
        CHECK(cpuid(0xd, 0).b <= FPU_BYTES);
    }
    write_cr0((read_cr0() & ~(CR0_EM | CR0_TS)) | CR0_MP | CR0_NE);
    __asm__ volatile("fninit; ldmxcsr %0" : : "m"(mxcsr));
    fpu_save(fpu_initial);
    cr0_trapping = read_cr0() | CR0_TS;
    arch_fpu_trap(true);
}
