/* SPDX-License-Identifier: BSD-2-Clause */
/* See core.h. */
#include "core.h"

#define WINDOW     0x100000000000ul
#define MODULES_AT 0x40000000ul
#define PAGES_AT   0x30000000ul
#define TABLES     1024

extern const uint8_t gmem_fixup_start[], gmem_fixup_end[], gmem_landing[];
struct vmm_segment vmm_segment;
static struct vmm_setup setup;
struct vmm vmm;
cptr_t core_vcpu;
static cptr_t tables[TABLES];
static uint8_t shadow_memory[24 << 20] __attribute__((aligned(64)));
static struct cpuid_host cpuid_values;
static cptr_t slot = 8192;

void need(err_t e, const char *what)
{
    if (e == ERR_OK)
        return;
    print_number("error 0x", e, " at ");
    print(what);
    print("\n");
    leave(1);
}

static cptr_t make(unsigned type, unsigned bits, unsigned n)
{
    static unsigned from;
    cptr_t s = slot;

    slot += n;
    for (; from < boot->untyped_count; from++) {
        if (boot->untyped[from].device)
            continue;
        err_t e = sys_retype(IPC, boot->untyped[from].cap, type, bits, SLOT_CNODE, s, n);
        if (e == ERR_OK)
            return s;
        if (e != ERR_NO_MEMORY)
            need(e, "retype");
        if (bits < 20)
            continue;
        for (unsigned i = from; i < boot->untyped_count; i++)
            if (!boot->untyped[i].device &&
                sys_retype(IPC, boot->untyped[i].cap, type, bits, SLOT_CNODE, s, n) == ERR_OK)
                return s;
    }
    need(ERR_NO_MEMORY, "retype");
    return 0;
}

static void tables_for(cptr_t space, uint64_t address, unsigned top, unsigned low)
{
    for (unsigned level = top; level >= low; level--) {
        cptr_t t = make(OBJ_PAGETABLE, 0, 1);
        uint64_t span = 1ul << (12 + 9 * level);
        err_t e = sys_invoke3(t, PAGETABLE_MAP, space, address & ~(span - 1), level);
        if (e != ERR_ALREADY_MAPPED)
            need(e, "page table");
    }
}

const uint8_t *core_module(unsigned i, uint64_t *bytes)
{
    static uint64_t at = MODULES_AT;
    uint64_t start = at;

    for (unsigned f = 0; f < boot->module[i].frames; f++, at += 2 << 20) {
        tables_for(SLOT_VSPACE, at, 3, 2);
        need(sys_invoke3(boot->module[i].cap + f, FRAME_MAP, SLOT_VSPACE, at, RIGHT_READ), "module frame");
    }
    *bytes = boot->module[i].bytes;
    return (const uint8_t *)start;
}

static bool write_guest(void *context, gpa_t to, const void *bytes, uint64_t n)
{
    for (uint64_t done = 0; done < n; done += GMEM_COPY_MAX) {
        uint64_t part = n - done < GMEM_COPY_MAX ? n - done : GMEM_COPY_MAX;
        if (gmem_write_bytes(context, (gpa_t){ to.v + done }, (const uint8_t *)bytes + done, part) != GMEM_OK)
            return false;
    }
    return true;
}

static cptr_t vm, space, notification, timer;

static void make_vm(void)
{
    space = make(OBJ_GUESTSPACE, 0, 1);
    cptr_t range = make(OBJ_RANGE, CORE_MEMORY_BITS, 1);
    vm = make(OBJ_VM, 0, 1);
    core_vcpu = make(OBJ_VCPU, 0, 1);
    notification = make(OBJ_NOTIFICATION, 0, 1);
    timer = make(OBJ_TIMER, 0, 1);
    for (unsigned i = 0; i < TABLES; i += 256) {
        cptr_t s = make(OBJ_SHADOW, 0, 256);
        for (unsigned k = 0; k < 256; k++)
            tables[i + k] = s + k;
    }
    need(sys_invoke1(vm, VM_BIND, space), "VM_BIND");
    need(sys_invoke1(core_vcpu, VCPU_BIND, vm), "VCPU_BIND");
    need(sys_invoke1(core_vcpu, VCPU_BIND_NOTIFICATION, notification), "bind notification");
    need(sys_invoke1(timer, TIMER_BIND, notification), "bind timer");
    for (unsigned i = 0; i < TABLES; i++)
        need(sys_invoke1(tables[i], SHADOW_BIND, vm), "SHADOW_BIND");
    for (uint64_t gfn = 0; gfn < CORE_MEMORY >> 12; gfn += 512) {
        tables_for(space, gfn << 12, 2, 1);
        need(sys_invoke2(space, GUESTSPACE_CHANGE,
                         CHANGE_W0(range, CHANGE_MAP, RIGHT_READ | RIGHT_WRITE, 512), CHANGE_W1(gfn, gfn)),
             "guest memory");
    }
    cptr_t views = slot;
    slot += 3;
    need(sys_invoke2(space, GUESTSPACE_VIEW, views, RIGHT_READ | RIGHT_WRITE), "window");
    need(sys_invoke2(views, VIEW_MAP, SLOT_VSPACE, WINDOW), "map window");
    tables_for(SLOT_VSPACE, PAGES_AT, 3, 1);
    for (unsigned i = 0; i < 2; i++) {
        need(sys_invoke2(core_vcpu, VCPU_VIEW, views + 1 + i, i), "view");
        need(sys_invoke2(views + 1 + i, VIEW_MAP, SLOT_VSPACE, PAGES_AT + i * PAGE_BYTES), "map view");
    }
    need(sys_invoke3(SLOT_TCB, TCB_SET_FIXUP, (uint64_t)gmem_fixup_start, gmem_fixup_end - gmem_fixup_start,
                     (uint64_t)gmem_landing),
         "fixup");
}

const struct boot_memory core_memory = { write_guest, &vmm.mem };

static void sync_segments(void)
{
    need(sys_invoke1(core_vcpu, VCPU_SYNC, STATE_SEGMENTS), "VCPU_SYNC");
}

void core_make(void)
{
    make_vm();
    for (unsigned i = 0; i < CPUID_HOST_ROWS; i++) {
        struct cpuid_regs *r = &cpuid_values.row[i];
        __asm__("cpuid"
                : "=a"(r->eax), "=b"(r->ebx), "=c"(r->ecx), "=d"(r->edx)
                : "a"(cpuid_host_leaf(i)), "c"(0));
    }
    setup = (struct vmm_setup){ .segment = &vmm_segment,
                                .exit = (const void *)PAGES_AT,
                                .reply = (void *)(PAGES_AT + PAGE_BYTES),
                                .window = (unsigned char *)WINDOW,
                                .memory_bytes = CORE_MEMORY,
                                .tables = tables,
                                .table_count = TABLES,
                                .shadow_memory = shadow_memory,
                                .cpuid = &cpuid_values,
                                .tsc_hz = boot->tsc_hz,
                                .seconds = 1767225600,
                                .sync = sync_segments };
    if (shadow_bytes(TABLES, CORE_MEMORY >> 12) > sizeof(shadow_memory) || !vmm_init(&vmm, &setup))
        need(ERR_NO_MEMORY, "vmm_init");
}

static void refused(uint64_t error, uint64_t word)
{
    print_number("reply refused: 0x", error, "");
    print_number(" at word 0x", word, "");
    print_number(" operation 0x", vmm.reply->ops[word % REPLY_OPS_MAX], "\n");
}

enum vmm_end core_run(const struct boot_plan *plan, void (*each)(void))
{
    struct sys_message m = { 0 };
    uint64_t armed = DEV_NEVER;

    need(sys_invoke2(space, GUESTSPACE_CHANGE,
                     CHANGE_W0(0, CHANGE_PROTECT, RIGHT_READ, VMM_ROM_END - VMM_ROM_FIRST),
                     CHANGE_W1(VMM_ROM_FIRST, 0)),
         "ROM");
    need(sys_recv(core_vcpu, 0, &m), "first receive");
    if (vmm_resume(&vmm, &setup, now()) != VMM_NEW)
        return VMM_END_BROKEN;
    vmm_start(&vmm, &plan->cpu);
    for (;;) {
        if (vmm.deadline < armed || armed <= vmm.now) {
            armed = vmm.deadline;
            if (armed != DEV_NEVER)
                sys_invoke1(timer, TIMER_SET, armed);
        }
        uint64_t word;
        err_t e = sys_answer(core_vcpu, &word);
        if (e != ERR_OK) {
            refused(e, word);
            return VMM_END_BROKEN;
        }
        vmm_begin(&vmm);
        enum vmm_end end = vmm_handle(&vmm);
        if (each)
            each();
        if (end != VMM_RUNS)
            return end;
        vmm_commit(&vmm);
    }
}
