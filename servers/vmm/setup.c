/* SPDX-License-Identifier: BSD-2-Clause */
/* The beginning: the core over what init built, the guest's memory and its kernel. */
#include <stdio.h>
#include <stdlib.h>

#include "libc/libc.h"
#include "memory.h"
#include "servers/vmm/inject.h"
#include "servers/vmm/process.h"
#include "sys/sys.h"

/* The guest's clock begins here: there is no clock server yet (docs/limits.md). 2026-01-01. */
#define GUEST_EPOCH_SECONDS 1767225600
#define MEMORY_REFUSED      "memmgr refuses the guest's memory"
#define RELEASE_PAGES       256 /* chosen: a millisecond of memmgr */
#define MEMORY_TRIES        100 /* chosen: deaths of memmgr over one request; init gives up earlier */

extern const uint8_t gmem_fixup_start[], gmem_fixup_end[], gmem_landing[];

static void host_cpuid(struct cpuid_host *h, bool enlighten)
{
    h->enlighten = enlighten;
    for (unsigned i = 0; i < CPUID_HOST_ROWS; i++) {
        struct cpuid_regs *r = &h->row[i];
        __asm__("cpuid"
                : "=a"(r->eax), "=b"(r->ebx), "=c"(r->ecx), "=d"(r->edx)
                : "a"(cpuid_host_leaf(i)), "c"(0));
    }
}

static err_t map_memory(uint32_t pages)
{
    err_t e = ERR_OK;

    for (uint32_t done = 0, n; done < pages && e == ERR_OK; done += n) {
        n = pages - done < MEMORY_MAP_MAX ? pages - done : MEMORY_MAP_MAX;
        e = memory_map(CAP_MEMORY, done, n, MEMORY_RIGHTS_READ | MEMORY_RIGHTS_WRITE);
    }
    return e;
}

/* A guest begins with zeroed memory, whatever a predecessor of this process had in it. In parts, so that
 * memmgr is there for others in between. */
static err_t release_memory(uint32_t pages)
{
    uint32_t n, released;
    err_t e = ERR_OK;

    for (uint32_t done = 0; done < pages && e == ERR_OK; done += n) {
        n = pages - done < RELEASE_PAGES ? pages - done : RELEASE_PAGES;
        e = memory_release(CAP_MEMORY, done, n, &released);
    }
    return e;
}

/* A call is cancelled when memmgr dies over it: what was asked for may be done, half done or not. The next
 * one knows what there is. `released`: there is nothing of a predecessor. */
static bool take_memory(uint32_t pages, bool released)
{
    for (unsigned tries = 0; tries < MEMORY_TRIES; tries++) {
        err_t e = released ? ERR_OK : release_memory(pages);
        if (e == ERR_OK)
            e = map_memory(pages);
        if (e != ERR_CANCELLED)
            return e == ERR_OK;
        released = false;
    }
    return false;
}

static void sync_segments(void)
{
    sys_invoke1(CAP_VCPU, VCPU_SYNC, STATE_SEGMENTS);
}

void open_guest(struct process *p, struct vmm_setup *s)
{
    const struct vmm_config *c = p->env.config;
    uint64_t memory = (uint64_t)c->vm_pages << PAGE_SHIFT;

    sys_invoke3(CAP_TCB, TCB_SET_FIXUP, (uint64_t)gmem_fixup_start, gmem_fixup_end - gmem_fixup_start,
                (uint64_t)gmem_landing);
    host_cpuid(&p->cpuid, c->enlighten);
    const char *missing = cpuid_missing(&p->cpuid);
    if (missing)
        report(p, END_REASON_UNSUPPORTED, missing);
    p->tables = calloc(c->vm_shadow_tables, sizeof(*p->tables));
    void *shadow = aligned_alloc(64, (shadow_bytes(c->vm_shadow_tables, c->vm_pages) + 63) & ~63ul);
    if (!p->tables || !shadow)
        report(p, END_REASON_INTERNAL, "the heap is too small for the shadow MMU's state");
    for (uint32_t i = 0; i < c->vm_shadow_tables; i++)
        p->tables[i] = CAP_SHADOW + i;
    *s = (struct vmm_setup){ .segment = (struct vmm_segment *)p->env.state,
                             .exit = (const struct umbra_exit_page *)(uintptr_t)p->env.exit,
                             .reply = (struct umbra_reply_page *)(uintptr_t)p->env.reply,
                             .window = (unsigned char *)(uintptr_t)p->env.window,
                             .memory_bytes = memory,
                             .tables = p->tables,
                             .table_count = c->vm_shadow_tables,
                             .shadow_memory = shadow,
                             .nested = c->vm_paging == DESC_PAGING_NESTED,
                             .cpuid = &p->cpuid,
                             .tsc_hz = p->env.info->tsc_hz,
                             .seconds = GUEST_EPOCH_SECONDS,
                             .sync = sync_segments };
    if (!vmm_init(&p->vmm, s))
        report(p, END_REASON_INTERNAL, "a limit is broken");
    inject_open(&p->vmm, c, p->env.info->incarnation);
    p->until = inject_until(c, p->env.info->incarnation);
    p->attend = p->until != 0;
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

static void refuse_image(struct process *p, const struct boot_result *r)
{
    char text[96];

    snprintf(text, sizeof(text), "%s (have %llu, need %llu)", boot_error_text(r->error),
             (unsigned long long)r->have, (unsigned long long)r->need);
    report(p, END_REASON_BAD_IMAGE, text);
}

void take_first_memory(struct process *p)
{
    if (p->env.info->incarnation == 0 && !take_memory(p->env.config->vm_pages, true))
        report(p, END_REASON_INTERNAL, MEMORY_REFUSED);
}

void load_guest(struct process *p, struct boot_plan *plan)
{
    const struct vmm_env *e = &p->env;
    struct boot_memory m = { write_guest, &p->vmm.mem };
    struct image_request r = { .image = e->kernel,
                               .image_bytes = e->kernel_bytes,
                               .initrd = e->initrd,
                               .initrd_bytes = e->initrd_bytes,
                               .cmdline = e->config->vm_command_line,
                               .memory_bytes = (uint64_t)e->config->vm_pages << PAGE_SHIFT,
                               .tsc_khz = e->info->tsc_hz / 1000 };

    if (!e->kernel)
        report(p, END_REASON_BAD_IMAGE, "there is no kernel image");
    if (e->info->incarnation != 0 && !take_memory(e->config->vm_pages, false))
        report(p, END_REASON_INTERNAL, MEMORY_REFUSED);
    struct boot_result res = image_plan(&r, plan);
    if (res.error != BOOT_OK)
        refuse_image(p, &res);
    if (!image_load(&r, plan, &m))
        report(p, END_REASON_INTERNAL, "guest memory refuses the image");
}

/* What the loader wrote stands in the ROMs: zeros, but for a guest that was entered in real mode. */
void protect_rom(const struct process *p)
{
    err_t e = ERR_CANCELLED;

    if (p->env.config->vm_pages <= VMM_ROM_END)
        return;
    for (unsigned tries = 0; tries < MEMORY_TRIES && e == ERR_CANCELLED; tries++)
        e = memory_protect(CAP_MEMORY, VMM_ROM_FIRST, VMM_ROM_END - VMM_ROM_FIRST, MEMORY_RIGHTS_READ);
    if (e != ERR_OK)
        report(p, END_REASON_INTERNAL, "memmgr refuses to protect the guest's ROM");
}
