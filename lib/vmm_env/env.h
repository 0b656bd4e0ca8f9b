/* SPDX-License-Identifier: BSD-2-Clause */
/* What a VMM process finds when main() begins: addresses, slots, event bits, and how it asks for more.
 *
 * The names come from the generated vmm_component.h (idl/interfaces/components.idl, component vmm) and
 * lib/desc/desc.h; this file says what stands behind them and adds no values of its own. init has built
 * everything before the first instruction: vCPU bound to VM and Notification, window, exit and reply page
 * mapped, shadow tables bound, timer bound.
 *
 *   CAP_TCB            2    the VMM's thread: TCB_SET_FIXUP for the window accessors
 *   CAP_NOTIFICATION   6    bound to the vCPU: signals arrive as EXIT_EVENT, bits EVENT_* (never wait on it)
 *   CAP_VCPU           8    sys_recv, sys_reply_recv; VCPU_SYNC
 *   CAP_SUPERVISOR          supervisor_ready, _ended, _log (supervisor.h)
 *   CAP_MEMORY              memory_map, _info (memory.h)
 *   CAP_WRITTEN             sys_signal: there is new output in the ring
 *   CAP_CLOCK               TIMER_SET (absolute TSC ticks), TIMER_CANCEL; fires EVENT_CLOCK
 *   CAP_SHADOW + i          shadow table i < config->vm_shadow_tables, each bound to the VM: OP_* name it by
 * this cptr EVENT_TYPED             the console has put input into the ring, or has taken output EVENT_CLOCK
 * the timer fired
 *
 * Guest memory is empty at the start: ask memmgr once, memory_map(CAP_MEMORY, 0, config->vm_pages, READ |
 * WRITE), before the window is touched. A page that is not mapped faults in the window. */
#ifndef LIB_VMM_ENV_ENV_H
#define LIB_VMM_ENV_ENV_H

#include "vmm_component.h"
#include <umbra/vcpu.h>

struct vmm_env {
    const struct component_info *info; /* name, tsc_hz, debug, incarnation */
    const struct vmm_config *config;   /* vm_pages, vm_shadow_tables, vm_paging, vm_command_line, trace */
    const volatile struct umbra_exit_page *exit;
    volatile struct umbra_reply_page *reply;
    volatile uint8_t *window; /* guest physical address 0; vm_pages pages, all faults until memory_map */
    uint8_t *state;           /* the state segment: STATE_BYTES, zero when incarnation 0 starts */
    const uint8_t *kernel, *initrd; /* whole files, read-only; NULL: not there */
    uint64_t kernel_bytes, initrd_bytes;
    struct console_output *output; /* ours to write (console_types.h) */
    const volatile struct console_input *input;
};

/* vmm_env_open - fill *e. False: the image was built for another description (call supervisor_ended,
 * BAD_IMAGE). */
static inline bool vmm_env_open(struct vmm_env *e)
{
    const struct component_info *info = vmm_info();

    if (!info)
        return false;
    *e = (struct vmm_env){
        .info = info,
        .config = vmm_config(info),
        .exit = (const volatile void *)EXIT_PAGE_ADDRESS,
        .reply = (volatile void *)REPLY_PAGE_ADDRESS,
        .window = (volatile uint8_t *)WINDOW_ADDRESS,
        .state = (uint8_t *)STATE_ADDRESS,
        .kernel = (const uint8_t *)info->module[DESC_MODULE_KERNEL].address,
        .initrd = (const uint8_t *)info->module[DESC_MODULE_INITRD].address,
        .kernel_bytes = info->module[DESC_MODULE_KERNEL].bytes,
        .initrd_bytes = info->module[DESC_MODULE_INITRD].bytes,
        .output = vmm_output(),
        .input = vmm_input(),
    };
    return true;
}

#endif
