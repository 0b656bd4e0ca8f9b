/* SPDX-License-Identifier: BSD-2-Clause */
/* What all image formats share: memory map, first processor states, GDT and identity page tables. */
#include "servers/vmm/boot/boot.h"

#define E820_USABLE   1
#define E820_RESERVED 2
#define BIOS_ROM      0xf0000ull

#define CR0_PE   BIT(0)
#define CR0_ET   BIT(4)
#define CR0_PG   BIT(31)
#define CR4_PAE  BIT(5)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)

#define PTE_P  BIT(0)
#define PTE_W  BIT(1)
#define PTE_PS BIT(7)

/* Segment attributes: see struct umbra_segment. */
#define ATTR_CODE64 0xa9b /* G, L, P, S, execute/read, accessed */
#define ATTR_CODE32 0xc9b
#define ATTR_DATA32 0xc93
#define ATTR_CODE16 0x09b
#define ATTR_DATA16 0x093
#define ATTR_TSS    0x08b
#define ATTR_LDT    0x082

const char *boot_error_text(enum boot_error e)
{
    static const char *const text[BOOT_ERRORS] = {
        "ok",
        "the guest's memory size is out of range or no multiple of 4 KiB",
        "the kernel image is no Linux bzImage",
        "the kernel image is too old: its boot protocol must be 2.02 or later",
        "the kernel image is an old zImage that loads below 1 MiB",
        "the kernel image's header contradicts itself",
        "the kernel image is shorter than its header says",
        "the kernel does not fit into the guest's memory",
        "the initrd does not fit into the guest's memory beside the kernel",
        "the kernel command line is longer than this kernel accepts",
        "the raw image does not fit where it is to be loaded",
        "the kernel image is no bzImage, Multiboot image or PVH ELF file",
        "the kernel image's real-mode part is too large",
        "the kernel's ELF file is no x86 executable of the right class",
        "the kernel's program headers lie outside the file, or are too many",
        "a segment of the kernel lies outside the file",
        "a segment of the kernel has more bytes in the file than in memory",
        "the kernel image has no segment that is to be loaded",
        "a segment of the kernel lies where the guest has no memory",
        "segments of the kernel overlap",
        "the kernel's entry point lies outside of what is loaded",
        "the Multiboot header requires what is not known",
        "the Multiboot header's address fields contradict each other",
        "the modules' file contradicts itself",
        "there are too many modules",
        "the modules do not fit into the guest's memory behind the kernel",
        "there is no room for what the kernel is to be told",
    };
    return e < BOOT_ERRORS ? text[e] : "unknown error";
}

struct boot_result boot_memory_size(uint64_t memory_bytes)
{
    struct boot_result r = { .error = BOOT_MEMORY_SIZE, .have = memory_bytes };
    if (memory_bytes < BOOT_MEMORY_MIN)
        r.need = BOOT_MEMORY_MIN;
    else if (memory_bytes > BOOT_MEMORY_MAX)
        r.need = BOOT_MEMORY_MAX;
    else if (memory_bytes % PAGE_BYTES)
        r.need = memory_bytes - memory_bytes % PAGE_BYTES;
    else
        r = (struct boot_result){ BOOT_OK, 0, 0 };
    return r;
}

uint32_t boot_e820(uint64_t memory_bytes, struct boot_range ranges[BOOT_E820_MAX])
{
    ranges[0] = (struct boot_range){ 0, BOOT_BASE_END, E820_USABLE, 0 };
    ranges[1] = (struct boot_range){ BOOT_BASE_END, 0xa0000 - BOOT_BASE_END, E820_RESERVED, 0 };
    ranges[2] = (struct boot_range){ BIOS_ROM, BOOT_LOW_END - BIOS_ROM, E820_RESERVED, 0 };
    ranges[3] = (struct boot_range){ BOOT_LOW_END, memory_bytes - BOOT_LOW_END, E820_USABLE, 0 };
    return 4;
}

bool boot_write_bda(const struct boot_memory *m)
{
    static const uint16_t ebda_segment = BOOT_BASE_END >> 4, base_kib = BOOT_BASE_END >> 10;
    return m->write(m->context, (gpa_t){ BOOT_BDA + 0x0e }, &ebda_segment, 2) &&
           m->write(m->context, (gpa_t){ BOOT_BDA + 0x13 }, &base_kib, 2);
}

static bool write_table(const struct boot_memory *m, uint64_t place, uint64_t first, uint64_t step,
                        unsigned n)
{
    uint64_t page[512] = { 0 };
    for (unsigned i = 0; i < n; i++)
        page[i] = first + i * step;
    return m->write(m->context, (gpa_t){ place }, page, sizeof(page));
}

bool boot_write_long_mode(const struct boot_memory *m)
{
    static const uint64_t gdt[4] = { 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff };
    uint64_t pdpt = BOOT_TABLES + PAGE_BYTES, directories = pdpt + PAGE_BYTES;
    bool ok = m->write(m->context, (gpa_t){ BOOT_GDT }, gdt, sizeof(gdt)) &&
              write_table(m, BOOT_TABLES, pdpt | PTE_P | PTE_W, 0, 1) &&
              write_table(m, pdpt, directories | PTE_P | PTE_W, PAGE_BYTES, 4);
    for (uint64_t i = 0; ok && i < 4; i++)
        ok = write_table(m, directories + i * PAGE_BYTES, i << 30 | PTE_P | PTE_W | PTE_PS, 1ull << 21, 512);
    return ok;
}

static struct umbra_segment segment(uint16_t selector, uint16_t attributes, uint32_t limit)
{
    return (struct umbra_segment){ .selector = selector, .attributes = attributes, .limit = limit };
}

static void set_data(struct boot_cpu *cpu, struct umbra_segment s)
{
    cpu->seg[SEG_DS] = cpu->seg[SEG_ES] = cpu->seg[SEG_SS] = cpu->seg[SEG_FS] = cpu->seg[SEG_GS] = s;
}

static void set_common(struct boot_cpu *cpu, uint64_t rip)
{
    *cpu = (struct boot_cpu){ .rip = rip, .rflags = 2, .cr0 = CR0_ET };
    cpu->seg[SEG_LDTR] = segment(0, ATTR_LDT, 0xffff);
    cpu->seg[SEG_TR] = segment(0, ATTR_TSS, 0xffff);
    cpu->seg[SEG_IDTR] = segment(0, 0, 0xffff);
}

static void set_flat(struct boot_cpu *cpu, uint16_t code_attributes)
{
    cpu->cr0 |= CR0_PE;
    cpu->seg[SEG_CS] = segment(BOOT_CS, code_attributes, 0xffffffff);
    set_data(cpu, segment(BOOT_DS, ATTR_DATA32, 0xffffffff));
    cpu->seg[SEG_GDTR] = segment(0, 0, 4 * 8 - 1);
    cpu->seg[SEG_GDTR].base = BOOT_GDT;
    cpu->seg[SEG_IDTR].limit = 0; /* none: an exception before the guest has its own ends it */
}

void boot_cpu_long(struct boot_cpu *cpu, uint64_t rip)
{
    set_common(cpu, rip);
    set_flat(cpu, ATTR_CODE64);
    cpu->cr0 |= CR0_PG;
    cpu->cr3 = BOOT_TABLES;
    cpu->cr4 = CR4_PAE;
    cpu->efer = EFER_LME | EFER_LMA;
}

void boot_cpu_protected(struct boot_cpu *cpu, uint64_t rip)
{
    set_common(cpu, rip);
    set_flat(cpu, ATTR_CODE32);
}

void boot_cpu_real(struct boot_cpu *cpu, uint16_t cs, uint16_t ip)
{
    set_common(cpu, ip);
    cpu->seg[SEG_CS] = segment(cs, ATTR_CODE16, 0xffff);
    cpu->seg[SEG_CS].base = (uint64_t)cs << 4;
    set_data(cpu, segment(0, ATTR_DATA16, 0xffff));
    cpu->seg[SEG_IDTR].limit = 0x3ff;
    cpu->seg[SEG_GDTR].limit = 0xffff;
}

void boot_cpu_without_gdt(struct boot_cpu *cpu)
{
    cpu->seg[SEG_GDTR] = segment(0, 0, 0);
    cpu->seg[SEG_TR] = segment(0, ATTR_TSS, 0x67);
}

bool boot_load_initrd(const struct boot_plan *plan, const struct boot_memory *m, uint64_t offset,
                      const void *bytes, uint64_t n)
{
    if (offset > plan->initrd.bytes || n > plan->initrd.bytes - offset)
        return false;
    return m->write(m->context, (gpa_t){ plan->initrd.start + offset }, bytes, n);
}
