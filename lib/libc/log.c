/* SPDX-License-Identifier: BSD-2-Clause */
/* Output of a program in pieces that its log takes. */
#include "libc/internal.h"
#include "sys/sys.h"
#include <string.h>

#define WORDS ((LIBC_LOG_MAX + 7) / 8)

static void log_to_kernel(const char *text, size_t bytes);
static libc_log_fn *log_function = log_to_kernel;

void libc_set_log(libc_log_fn *f)
{
    log_function = f;
}

/* The interrupted program may be about to send what stands in the IPC buffer: it is put back. */
static void log_to_kernel(const char *text, size_t bytes)
{
    const struct component_info *info = (const void *)BOOT_INFO_ADDRESS;
    struct umbra_ipc_buffer *ipc = (void *)BOOT_IPC_ADDRESS;
    uint64_t kept[WORDS + 1], w[WORDS + 1] = { bytes };
    struct sys_message m = { .tag = TAG(KERNEL_LOG, 1 + (bytes + 7) / 8) };

    memcpy(kept, ipc->words, sizeof(kept));
    memcpy(w + 1, text, bytes);
    memcpy(m.w, w, sizeof(m.w));
    memcpy(ipc->words, w, sizeof(w));
    sys_call(info->magic == BOOT_MAGIC ? (cptr_t)SLOT_KERNEL : (cptr_t)DESC_SLOT_LOG, &m);
    memcpy(ipc->words, kept, sizeof(kept));
}

static size_t piece(const char *text, size_t bytes)
{
    if (bytes <= LIBC_LOG_MAX)
        return bytes;
    for (size_t n = LIBC_LOG_MAX; n > 0; n--)
        if (text[n - 1] == '\n')
            return n;
    return LIBC_LOG_MAX;
}

int64_t libc_write(const char *text, size_t bytes)
{
    size_t done = 0;

    while (done < bytes) {
        size_t n = piece(text + done, bytes - done);
        log_function(text + done, n);
        done += n;
    }
    return (int64_t)bytes;
}
