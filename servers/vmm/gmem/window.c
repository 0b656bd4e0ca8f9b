/* SPDX-License-Identifier: BSD-2-Clause */
/* The bounded copies of gmem.h over the window; single accesses and the fault fix-up are in window.S. */
#include "servers/vmm/gmem/gmem.h"

int gmem_copy_in(void *to, const void *from, size_t bytes);
int gmem_copy_out(void *to, const void *from, size_t bytes);

static bool inside(const struct gmem *m, gpa_t a, size_t bytes)
{
    return bytes <= GMEM_COPY_MAX && bytes <= m->bytes && a.v <= m->bytes - bytes;
}

int gmem_read_bytes(const struct gmem *m, gpa_t a, void *to, size_t bytes)
{
    return inside(m, a, bytes) ? gmem_copy_in(to, m->base + a.v, bytes) : GMEM_ABSENT;
}

int gmem_write_bytes(const struct gmem *m, gpa_t a, const void *from, size_t bytes)
{
    return inside(m, a, bytes) ? gmem_copy_out(m->base + a.v, from, bytes) : GMEM_ABSENT;
}
