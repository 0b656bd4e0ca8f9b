/* SPDX-License-Identifier: BSD-2-Clause */
/* The first thread: its objects, its memory, its capabilities, and what it is told (struct umbra_bootinfo).
 *
 * Boot memory is taken from the top of the highest RAM below 4 GB and never returned; all other RAM becomes
 * Untyped capabilities, modules become read-only 2 MB frames. After this no kernel code allocates. */
#include "boot.h"
#include "arch/pte.h"
#include "cpu.h"
#include "invoke.h"
#include "log.h"
#include "softtlb.h"

extern char kernel_end[];
#define KERNEL_IMAGE_END ((uint64_t)(uintptr_t)kernel_end - 0xffffffff80000000ul)
#define BOOTINFO_PAGES   2

static uint64_t boot_top, boot_bottom; /* boot memory grows down from top; bottom is its limit */

static uint64_t take(uint64_t bytes, uint64_t align)
{
    uint64_t at = (boot_top - bytes) & ~(align - 1);

    if (bytes > boot_top || at < boot_bottom)
        PANIC("too little memory: boot needs %lu KB more than there is; give the machine more (-m)",
              bytes / 1024);
    boot_top = at;
    arch_zero(phys((hpa_t){ at }), (bytes + 7) & ~7ul);
    return at;
}

/* --- modules: to 2 MB bounds at the top of memory --- */

static void move_modules(struct boot_data *b, struct umbra_bootinfo *info)
{
    for (unsigned i = b->modules; i-- > 0;) {
        struct boot_source *m = &b->module[i];
        uint64_t bytes = m->end - m->start, size = (bytes + level_bytes(2) - 1) & ~(level_bytes(2) - 1);
        if (!size)
            size = level_bytes(2);
        uint64_t at = take(size, level_bytes(2));
        __builtin_memcpy(phys((hpa_t){ at }), phys((hpa_t){ m->start }), bytes);
        m->start = at;
        m->end = at + bytes;
        info->module[i].frames = size / level_bytes(2);
        info->module[i].bytes = bytes;
        __builtin_memcpy(info->module[i].name, m->name, sizeof(m->name));
    }
    info->module_count = b->modules;
}

/* --- the root task's address space --- */

static uint64_t *root_entry(uint64_t *root, uint64_t address, unsigned level)
{
    uint64_t *table = root;

    for (unsigned l = 4; l > level; l--) {
        uint64_t *e = &table[pte_index(address, l)];
        if (!(*e & PTE_P))
            *e = take(PAGE_BYTES, PAGE_BYTES) | PTE_P | PTE_W | PTE_U;
        table = phys(pte_hpa(*e));
    }
    return &table[pte_index(address, level)];
}

static uint64_t map_new_page(uint64_t *root, uint64_t address, bool write, bool execute)
{
    uint64_t *e = root_entry(root, address, 1);

    if (!(*e & PTE_P))
        *e = take(PAGE_BYTES, PAGE_BYTES) | PTE_P | PTE_U | PTE_NX;
    if (write)
        *e |= PTE_W;
    if (execute)
        *e &= ~PTE_NX;
    return pte_hpa(*e).v;
}

static void load_segment(uint64_t *root, const struct elf_segment *s)
{
    uint64_t end = s->address + s->memory_bytes;

    for (uint64_t a = s->address & ~(PAGE_BYTES - 1); a < end; a += PAGE_BYTES) {
        uint8_t *page = phys((hpa_t){ map_new_page(root, a, s->write, s->execute) });
        uint64_t from = a > s->address ? a : s->address, to = a + PAGE_BYTES;
        if (to > s->address + s->file_bytes)
            to = s->address + s->file_bytes;
        if (from < to)
            __builtin_memcpy(page + (from - a), s->data + (from - s->address), to - from);
    }
}

/* --- capabilities --- */

static struct cap *slots;

static struct cap *put(cptr_t slot, unsigned type, uint64_t obj, unsigned bits)
{
    struct cap *c = &slots[slot];

    *c = (struct cap){ .type = type, .rights = RIGHT_ALL, .flags = CAP_ORIGINAL, .obj = obj, .bits = bits };
    cap_insert(c, NULL);
    return c;
}

static void put_untyped(struct umbra_bootinfo *info, uint64_t start, uint64_t end, bool device)
{
    while (start < end && info->untyped_count < BOOT_UNTYPED_MAX) {
        unsigned bits = __builtin_ctzll(start | BIT(UNTYPED_BITS_MAX));
        while (bits > PAGE_SHIFT && (1ull << bits) > end - start)
            bits--;
        struct cap *c = put(info->first_free, OBJ_UNTYPED, start, bits);
        c->flags |= device ? CAP_DEVICE : 0;
        info->untyped[info->untyped_count++] =
            (struct umbra_boot_untyped){ info->first_free++, bits, device, { 0 }, device ? start : 0 };
        start += 1ull << bits;
    }
}

/* RAM that neither the kernel image nor boot memory uses. */
static void put_memory(const struct boot_data *b, struct umbra_bootinfo *info, uint64_t top)
{
    uint64_t kernel = (KERNEL_IMAGE_END + level_bytes(2) - 1) & ~(level_bytes(2) - 1);

    for (unsigned i = 0; i < b->regions; i++) {
        uint64_t start = b->ram[i].start, end = b->ram[i].end;
        info->memory_bytes += end - start;
        if (start < kernel)
            start = kernel;
        if (start < top && end >= top) { /* the region that boot memory came from */
            if (start < boot_top)
                put_untyped(info, start, boot_top, false);
            start = top;
        }
        if (start < end)
            put_untyped(info, start, end, false);
    }
}

/* Device memory: what lies between the end of low memory and 4 GB, but for the interrupt controllers, which
 * are the kernel's (and the window of message interrupts around the local APIC). */
static void put_devices(const struct boot_data *b, struct umbra_bootinfo *info)
{
    static const struct region kernels[] = { { 0xfec00000, 0xfed00000 }, { 0xfee00000, 0xfef00000 } };
    uint64_t start = b->low_end;

    for (unsigned i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++) {
        put_untyped(info, start, kernels[i].start, true);
        start = start > kernels[i].end ? start : kernels[i].end;
    }
    put_untyped(info, start, BIT(32), true);
}

static void put_modules(struct boot_data *b, struct umbra_bootinfo *info)
{
    for (unsigned i = 0; i < b->modules; i++) {
        info->module[i].cap = info->first_free;
        for (unsigned f = 0; f < info->module[i].frames; f++) {
            struct cap *c =
                put(info->first_free++, OBJ_FRAME, b->module[i].start + f * level_bytes(2), FRAME_2M);
            c->rights = RIGHT_READ;
            c->flags |= CAP_LARGE;
        }
    }
}

static void metadata_init(const struct boot_data *b)
{
    uint64_t top = 0;

    for (unsigned i = 0; i < b->regions; i++)
        if (b->ram[i].end > top)
            top = b->ram[i].end;
    CHECK(top >> PAGE_SHIFT <= MEMORY_FRAMES_MAX);
    uint64_t at = take((top >> PAGE_SHIFT) * sizeof(struct frame_meta), PAGE_BYTES);
    frame_meta = phys((hpa_t){ at });
    frame_meta_count = top >> PAGE_SHIFT;
    if (softtlb_bytes())
        softtlb_open(phys((hpa_t){ take(softtlb_bytes(), PAGE_BYTES) }));
}

static void find_boot_memory(const struct boot_data *b)
{
    for (unsigned i = 0; i < b->regions; i++)
        if (b->ram[i].end <= BIT(32) && b->ram[i].end > boot_top) {
            boot_top = b->ram[i].end;
            boot_bottom = b->ram[i].start;
        }
    if (boot_bottom < KERNEL_IMAGE_END)
        boot_bottom = KERNEL_IMAGE_END;
    for (unsigned i = 0; i < b->modules; i++)
        if (b->module[i].end > boot_bottom && b->module[i].start < boot_top)
            boot_bottom = b->module[i].end;
}

static uint64_t new_space(void)
{
    uint64_t at = take(PAGE_BYTES, PAGE_BYTES);

    arch_space_init(phys((hpa_t){ at }));
    *meta_of((hpa_t){ at }) = (struct frame_meta){ META_VSPACE, unique_number() };
    return at;
}

static void start_thread(struct umbra_bootinfo *info, uint64_t entry, uint64_t ipc)
{
    struct tcb *t = cap_object(&slots[SLOT_TCB]);
    struct sched *s = cap_object(&slots[SLOT_SCHED]);

    arch_regs_init(&t->regs);
    arch_fpu_init(t->fpu);
    t->cspace.holder = t->vspace.holder = t->ipc_buffer.holder = OBJ_TCB;
    t->fault.holder = t->sched.holder = t->notification.holder = OBJ_TCB;
    cap_derive(&t->cspace, &slots[SLOT_CNODE], RIGHT_ALL, 0);
    tcb_set_slots(t);
    cap_derive(&t->vspace, &slots[SLOT_VSPACE], RIGHT_ALL, 0);
    cap_derive(&t->ipc_buffer, &slots[SLOT_IPC_BUFFER], RIGHT_ALL, 0);
    cap_derive(&t->sched, &slots[SLOT_SCHED], RIGHT_ALL, 0);
    t->buffer = phys((hpa_t){ ipc });
    t->sc = s;
    s->tcb = t;
    s->refill.kind = DEADLINE_REFILL;
    s->budget = s->remaining = s->period = arch_tsc_hz() / 100;
    s->ceiling = PRIORITIES - 1;
    t->priority = PRIORITIES - 1;
    t->regs.rip = entry;
    t->regs.rsp = BOOT_STACK_TOP - 8;
    t->regs.rdi = BOOT_INFO_ADDRESS;
    t->state = THREAD_READY;
    thread_ready(t);
    info->magic = BOOT_MAGIC;
}

void roottask_create(struct boot_data *b)
{
    static struct umbra_bootinfo info;
    BUILD_ASSERT(sizeof(info) <= BOOTINFO_PAGES * PAGE_BYTES);
    struct elf_segment segments[16];
    uint64_t entry;

    if (!b->modules)
        PANIC("no boot module: the loader has to give the root task as first module");
    find_boot_memory(b);
    uint64_t top = boot_top;
    move_modules(b, &info);
    metadata_init(b);

    const void *image = phys((hpa_t){ b->module[0].start });
    const char *wrong = elf_check(image, b->module[0].end - b->module[0].start);
    if (wrong)
        PANIC("boot module 0 (%s): %s", b->module[0].name, wrong);
    uint64_t root = new_space();
    unsigned n = elf_segments(image, segments, 16, &entry);
    for (unsigned i = 0; i < n; i++)
        load_segment(phys((hpa_t){ root }), &segments[i]);
    for (uint64_t a = BOOT_STACK_TOP - BOOT_STACK_BYTES; a < BOOT_STACK_TOP; a += PAGE_BYTES)
        map_new_page(phys((hpa_t){ root }), a, true, false);
    uint64_t ipc = map_new_page(phys((hpa_t){ root }), BOOT_IPC_ADDRESS, true, false);

    uint64_t cnode =
        take((1ul << ROOT_CNODE_BITS) * sizeof(struct cap), 1ul << (ROOT_CNODE_BITS + BITS_SLOT));
    slots = phys((hpa_t){ cnode });
    put(SLOT_CNODE, OBJ_CNODE, cnode, ROOT_CNODE_BITS);
    put(SLOT_TCB, OBJ_TCB, take(1ul << BITS_TCB, 1ul << BITS_TCB), BITS_TCB);
    put(SLOT_VSPACE, OBJ_VSPACE, root, BITS_VSPACE);
    put(SLOT_IPC_BUFFER, OBJ_FRAME, ipc, FRAME_4K);
    put(SLOT_SCHED, OBJ_SCHED, take(1ul << BITS_SCHED, 1ul << BITS_SCHED), BITS_SCHED);
    put(SLOT_SCHEDCONTROL, OBJ_SCHEDCONTROL, 0, 0);
    put(SLOT_IRQCONTROL, OBJ_IRQCONTROL, 0, 0);
    put(SLOT_IOPORT, OBJ_IOPORT, 0, 0)->d0 = 0xffff;
    put(SLOT_KERNEL, OBJ_KERNEL, 0, 0);
    info.first_free = SLOT_FIRST_FREE;
    put_modules(b, &info);
    info.debug = UMBRA_DEBUG;
    info.tsc_hz = arch_tsc_hz();
    __builtin_memcpy(info.command_line, b->command_line, sizeof(info.command_line));
    const char *v = version_text();
    for (unsigned i = 0; i + 1 < sizeof(info.version) && v[i]; i++)
        info.version[i] = v[i];

    uint8_t *pages[BOOTINFO_PAGES];
    for (unsigned i = 0; i < BOOTINFO_PAGES; i++)
        pages[i] = phys(
            (hpa_t){ map_new_page(phys((hpa_t){ root }), BOOT_INFO_ADDRESS + i * PAGE_BYTES, false, false) });
    put_memory(b, &info, top); /* last: all boot memory is taken now */
    put_devices(b, &info);
    start_thread(&info, entry, ipc);
    for (unsigned i = 0; i < BOOTINFO_PAGES; i++) {
        uint64_t left = sizeof(info) - i * PAGE_BYTES;
        __builtin_memcpy(pages[i], (uint8_t *)&info + i * PAGE_BYTES, left < PAGE_BYTES ? left : PAGE_BYTES);
    }
}
