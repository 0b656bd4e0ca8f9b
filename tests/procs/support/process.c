/* SPDX-License-Identifier: BSD-2-Clause */
/* See process.h. */
#include "process.h"

#define PARK_SLOT     ((1u << PROCESS_CSPACE_BITS) - 1)
#define SCRIPT_OFFSET 0x800
#define VIEW_ADDRESS  0x18000000ul /* where the root task sees the pages */

extern const char process_code[], process_code_end[];
__asm__(
    ".text\n"
    "process_code: lea process_code + 0x800(%rip), %rbx\n"
    " mov 0(%rbx), %rax\n mov 8(%rbx), %rdi\n mov 16(%rbx), %rsi\n mov 24(%rbx), %rdx\n mov 32(%rbx), %r10\n"
    " mov 40(%rbx), %r8\n mov 48(%rbx), %r9\n syscall\n mov %rax, 56(%rbx)\n incq 64(%rbx)\n"
    "1: mov $-3, %rax\n mov 72(%rbx), %rdi\n syscall\n jmp 1b\n"
    "process_code_end:\n");

static bool make_objects(struct process *p, cptr_t untyped)
{
    cptr_t s = new_slots(4);

    p->tcb = s;
    p->sched = s + 1;
    p->vspace = s + 2;
    p->cspace = s + 3;
    return sys_retype(IPC, untyped, OBJ_VSPACE, 0, SLOT_CNODE, p->vspace, 1) == ERR_OK &&
           sys_retype(IPC, untyped, OBJ_TCB, 0, SLOT_CNODE, p->tcb, 1) == ERR_OK &&
           sys_retype(IPC, untyped, OBJ_CNODE, PROCESS_CSPACE_BITS, SLOT_CNODE, p->cspace, 1) == ERR_OK &&
           sys_retype(IPC, untyped, OBJ_SCHED, 0, SLOT_CNODE, p->sched, 1) == ERR_OK;
}

static bool make_page(struct process *p)
{
    static unsigned next;
    uint64_t view = VIEW_ADDRESS + next++ % 256 * PAGE_BYTES;
    cptr_t frame = map_frame(SLOT_VSPACE, view, RIGHT_READ | RIGHT_WRITE), other = copy_cap(frame, RIGHT_ALL);

    if (!frame || !other || !map_tables(p->vspace, PROCESS_ADDRESS))
        return false;
    memcpy((void *)view, process_code, process_code_end - process_code);
    p->script = (struct script *)(view + SCRIPT_OFFSET);
    return sys_invoke3(other, FRAME_MAP, p->vspace, PROCESS_ADDRESS, RIGHT_ALL) == ERR_OK;
}

bool process_make(struct process *p, cptr_t untyped, unsigned priority, cptr_t fault)
{
    return make_objects(p, untyped) && make_page(p) &&
           sys_retype(IPC, TEST_UNTYPED, OBJ_NOTIFICATION, 0, p->cspace, PARK_SLOT, 1) == ERR_OK &&
           sys_invoke4(p->sched, SCHED_CONFIGURE, SLOT_SCHEDCONTROL, 10000000, 10000000, 255) == ERR_OK &&
           sys_invoke4(p->tcb, TCB_CONFIGURE, p->cspace, p->vspace, 0, fault) == ERR_OK &&
           sys_invoke2(p->tcb, TCB_SET_SCHED, p->sched, priority) == ERR_OK;
}

err_t process_call(struct process *p, uint64_t number, uint64_t target, uint64_t tag, uint64_t w0,
                   uint64_t w1)
{
    struct sys_message m = { .tag = TAG(TCB_WRITE_REGS, 6), .w = { PROCESS_ADDRESS, 0, 0, 0 } };

    *p->script = (struct script){
        .rax = number, .rdi = target, .rsi = tag, .rdx = w0, .r10 = w1, .result = ~0ul, .park = PARK_SLOT
    };
    IPC->words[4] = IPC->words[5] = 0;
    err_t e = sys_call(p->tcb, &m);
    return e == ERR_OK ? sys_invoke0(p->tcb, TCB_RESUME) : e;
}
