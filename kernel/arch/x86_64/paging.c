/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel's own address space. Kernel text is read-only, data never executable.
 */
#include "arch/pte.h"
#include "cpu.h"
#include "log.h"
#include "x86.h"

#define KERNEL_TABLES 4 /* of 2 MB each */
#define LAPIC_INDEX   511

extern uint64_t boot_pml4[512], boot_pd[4 * 512], boot_pdpt_kernel[512];
extern char kernel_start[], rodata_start[], data_start[], kernel_end[];
static uint64_t kernel_pt[KERNEL_TABLES][512] __attribute__((aligned(4096)));
static uint64_t kernel_pd[512] __attribute__((aligned(4096)));
static uint64_t mmio_pt[512] __attribute__((aligned(4096)));

void paging_init(void)
{
    CHECK(kernel_hpa(kernel_end).v <= KERNEL_TABLES * level_bytes(2));
    for (uint64_t a = (uintptr_t)kernel_start; a < (uintptr_t)kernel_end; a += PAGE_BYTES) {
        uint64_t p = a - KERNEL_OFFSET, flags = PTE_P | PTE_G;
        if (a >= (uintptr_t)data_start)
            flags |= PTE_W | PTE_NX;
        else if (a >= (uintptr_t)rodata_start)
            flags |= PTE_NX;
        kernel_pt[p / level_bytes(2)][pte_index(p, 1)] = p | flags;
    }
    for (unsigned i = 0; i < KERNEL_TABLES; i++)
        kernel_pd[i] = kernel_hpa(kernel_pt[i]).v | PTE_P | PTE_W;
    mmio_pt[0] = 0xfee00000 | PTE_P | PTE_W | PTE_PCD | PTE_PWT | PTE_NX | PTE_G;
    kernel_pd[LAPIC_INDEX] = kernel_hpa(mmio_pt).v | PTE_P | PTE_W;
    boot_pdpt_kernel[510] = kernel_hpa(kernel_pd).v | PTE_P | PTE_W;
    boot_pml4[0] = 0;
    cpu.space = kernel_hpa(boot_pml4);
    write_cr3(cpu.space.v);
    uint64_t cr4 = read_cr4() | BIT(7); /* PGE: the kernel's image stays over address space switches */
    struct cpuid f = cpuid(7, 0);
    cr4 |= (f.b & BIT(7) ? CR4_SMEP : 0) | (f.b & BIT(20) ? CR4_SMAP : 0) | (f.c & BIT(2) ? CR4_UMIP : 0);
    write_cr4(cr4);
}

void arch_space_init(uint64_t *root)
{
    for (unsigned i = 256; i < 512; i++)
        root[i] = boot_pml4[i];
}

void arch_kernel_space(void)
{
    arch_load_space(kernel_hpa(boot_pml4));
}
bool arch_space_is_loaded(hpa_t root)
{
    return root.v == cpu.space.v;
}
void arch_flush_space(void)
{
    write_cr3(cpu.space.v);
}

void arch_flush_address(hpa_t root, uint64_t address)
{
    if (root.v == cpu.space.v)
        __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

void arch_zero(void *p, uint64_t bytes)
{
    uint64_t n = bytes / 8;
    __asm__ volatile("rep stosq" : "+D"(p), "+c"(n) : "a"(0ul) : "memory");
}
