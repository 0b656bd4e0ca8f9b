/* SPDX-License-Identifier: BSD-2-Clause */
/* Output of a component that does not hold the kernel's log: lines to init. */
#include "component/component.h"
#include "libc/libc.h"
#include "supervisor.h"
#include <string.h>
#include <umbra/bootinfo.h>

static cptr_t supervisor;
BUILD_ASSERT(LIBC_LOG_MAX == 440);

/* The interrupted program may be about to send what stands in the IPC buffer: it is put back. */
static void send_line(const char *text, size_t bytes)
{
    struct umbra_ipc_buffer *ipc = (void *)BOOT_IPC_ADDRESS, kept = *ipc;
    char line[LIBC_LOG_MAX + 1];

    for (size_t i = 0; i < bytes; i++)
        line[i] = text[i] ? text[i] : ' ';
    line[bytes] = 0;
    supervisor_log(supervisor, line);
    *ipc = kept;
}

void component_log_to(cptr_t ep)
{
    supervisor = ep;
    libc_set_log(send_line);
}
