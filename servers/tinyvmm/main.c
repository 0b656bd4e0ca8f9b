/* SPDX-License-Identifier: BSD-2-Clause */
/* tinyvmm: the least that runs a guest from a description. Its guest is a few bytes; every page that it
 * touches is mapped at the same guest-physical address, port e9h is its console, HLT its end. For tests only.
 */
#include "memory.h"
#include "supervisor.h"
#include "sys/sys.h"
#include "tinyvmm_component.h"
#include <string.h>
#include <umbra/vcpu.h>

#define CONSOLE_PORT 0xe9
#define TOUCHED_MAX  0x200000ul /* one table of each level is enough */
#define EXITS_MAX    1000u
#define LONG_START   0x1000
#define REAL_START   0x7c00
#define RWXU         (SH_READ | SH_WRITE | SH_USER | SH_EXEC)

static const volatile struct umbra_exit_page *const x = (const volatile void *)EXIT_PAGE_ADDRESS;
static volatile struct umbra_reply_page *const r = (volatile void *)REPLY_PAGE_ADDRESS;

static _Noreturn void end(end_reason_t reason, const char *text)
{
    struct guest_state s = { .rip = x->rip, .rflags = x->rflags, .cr2 = x->cr2 };

    for (unsigned i = 0; i < GPRS; i++)
        s.gpr[i] = x->gpr[i];
    sys_signal(CAP_WRITTEN);
    supervisor_ended(CAP_SUPERVISOR, reason, x->seq, text, &s);
    for (;;)
        sys_invoke0(CAP_TCB, TCB_SUSPEND);
}

static void op(uint64_t w)
{
    r->ops[r->op_words++] = w;
}

/* Real mode runs on PAE tables, 64-bit mode on four levels; both end at table 0, which maps the first 2 MB.
 */
static void make_tables(bool long_mode)
{
    unsigned format = long_mode ? SHADOW_LONG : SHADOW_PAE, top = long_mode ? 4 : 2;

    for (unsigned level = 1; level <= top; level++)
        op(OP_W0(OP_SETUP, 0, SHADOW_KIND(format, level), CAP_SHADOW + level - 1));
    for (unsigned level = 2; level <= top; level++) {
        op(OP_W0(OP_LINK, RWXU, 0, CAP_SHADOW + level - 1));
        op(CAP_SHADOW + level - 2);
    }
    op(OP_W0(OP_SET_ROOT, 0, 0, CAP_SHADOW + top - 1));
}

static void fill(uint64_t address)
{
    if (address >= TOUCHED_MAX)
        end(END_REASON_UNSUPPORTED, "an address above 2 MB");
    op(OP_W0(OP_FILL, RWXU, address >> PAGE_SHIFT, CAP_SHADOW));
    op(address >> PAGE_SHIFT);
}

static void set_state(bool long_mode)
{
    r->groups = STATE_RIP | STATE_RFLAGS | STATE_SEGMENTS | STATE_CONTROL | STATE_GPRS;
    r->rip = long_mode ? LONG_START : REAL_START;
    r->rflags = 2;
    r->cr0 = long_mode ? 0x80000033 : 0x10;
    r->cr4 = long_mode ? 0x620 : 0;
    r->efer = long_mode ? 0xd01 : 0;
    for (unsigned i = 0; i < SEGS; i++) {
        bool data = i <= SEG_GS;
        r->seg[i].selector = 0;
        r->seg[i].attributes = i == SEG_CS ? 0x9b : i == SEG_TR ? 0x8b : i == SEG_LDTR ? 0x82 : 0x93;
        r->seg[i].limit = 0xffff;
        r->seg[i].base = 0;
        if (long_mode && data) {
            r->seg[i].selector = i == SEG_CS ? 8 : 16;
            r->seg[i].attributes = i == SEG_CS ? 0xa9b : 0xc93;
            r->seg[i].limit = 0xffffffff;
        }
    }
    r->gpr_mask = 1u << RSP;
    r->gpr[RSP] = REAL_START;
}

static void console_put(uint8_t byte)
{
    struct console_output *ring = tinyvmm_output();
    struct console_entry *e = &ring->entry[ring->produced % CONSOLE_OUTPUT_ENTRIES];

    e->seq = x->seq;
    e->length = 1;
    e->data[0] = byte;
    __atomic_store_n(&ring->produced, ring->produced + 1, __ATOMIC_RELEASE);
}

static void skip(unsigned bytes)
{
    r->groups |= STATE_RIP;
    r->rip = x->info[1] && x->kind == EXIT_IO ? x->info[1] : x->rip + bytes;
    r->shadow = 0;
}

static void handle(void)
{
    switch (x->kind) {
    case EXIT_PAGE:
        fill(x->info[0]);
        break;
    case EXIT_IO:
        if (EXIT_IO_PORT(x->info[0]) == CONSOLE_PORT && !(x->info[0] & EXIT_IO_IN))
            console_put((uint8_t)x->gpr[RAX]);
        skip(2);
        break;
    case EXIT_CPUID:
        skip(2);
        break;
    case EXIT_EVENT:
        break;
    case EXIT_HLT:
        end(END_REASON_DONE, "the guest halts");
    default:
        end(END_REASON_UNSUPPORTED, "an exit of another kind");
    }
}

static void answer(void)
{
    struct sys_message m = { 0 };

    r->seq = x->seq;
    err_t e = sys_reply_recv(CAP_VCPU, 0, &m);
    if (e != ERR_OK)
        end(END_REASON_INTERNAL, "the kernel refuses the reply");
    r->op_words = 0;
    r->groups = r->gpr_mask = r->flags = 0;
}

/* Tests of isolation: nothing of this may do anything but end this component. */
static void trespass(uint32_t how)
{
    if (how == 1)
        *(volatile uint8_t *)BOOT_INFO_ADDRESS = 1;
    for (cptr_t c = 1; how == 2 && c < 64; c++)
        sys_invoke3(c, CNODE_DELETE, 1, 0, 0);
}

int main(void)
{
    const struct component_info *info = tinyvmm_info();
    struct sys_message m = { 0 };

    if (!info)
        end(END_REASON_BAD_IMAGE, "this program was built for another system description");
    const struct tinyvmm_config *config = tinyvmm_config(info);
    const void *image = (const void *)info->module[DESC_MODULE_KERNEL].address;
    uint64_t bytes = info->module[DESC_MODULE_KERNEL].bytes;
    if (!image || bytes > PAGE_BYTES)
        end(END_REASON_BAD_IMAGE, "the guest is not there, or too large");
    if (memory_map(CAP_MEMORY, 0, config->vm_pages, MEMORY_RIGHTS_READ | MEMORY_RIGHTS_WRITE) != ERR_OK)
        end(END_REASON_INTERNAL, "memmgr refuses the guest's memory");
    memcpy((void *)(WINDOW_ADDRESS + (config->long_mode ? LONG_START : REAL_START)), image, bytes);
    tinyvmm_output()->magic = CONSOLE_MAGIC;
    if (supervisor_ready(CAP_SUPERVISOR) != ERR_OK || sys_recv(CAP_VCPU, 0, &m) != ERR_OK)
        end(END_REASON_INTERNAL, "no supervisor, or no vCPU");
    trespass(config->trespass);
    make_tables(config->long_mode);
    set_state(config->long_mode);
    for (unsigned i = 0; i < EXITS_MAX; i++) {
        answer();
        handle();
    }
    end(END_REASON_INTERNAL, "too many exits");
}
