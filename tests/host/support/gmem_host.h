/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest memory on the host: a heap buffer with two flags a page, behind the accessors of gmem.h.
 * Exactly sized, so that a sanitizer sees any access outside. */
#ifndef TESTS_HOST_GMEM_HOST_H
#define TESTS_HOST_GMEM_HOST_H

#include <servers/vmm/gmem/gmem.h>

enum { GMEM_HOST_ABSENT = 1, GMEM_HOST_READONLY = 2 };

/* Called after each successful write, also compare-and-exchange: what the guest's memory now holds changed.
 */
typedef void gmem_host_hook(void *context, gpa_t a, size_t bytes);

/* gmem_host_new - zeroed memory of that many pages; ends the program when the host has none. */
struct gmem *gmem_host_new(uint64_t pages);
void gmem_host_free(struct gmem *m);
/* gmem_host_set - flags (GMEM_HOST_*) of a page. */
void gmem_host_set(struct gmem *m, gfn_t gfn, unsigned flags);
void gmem_host_on_write(struct gmem *m, gmem_host_hook *hook, void *context);
/* gmem_host_fail_cas - the next n compare-and-exchanges report GMEM_LOST, as if another writer had won. */
void gmem_host_fail_cas(struct gmem *m, unsigned n);

#endif
