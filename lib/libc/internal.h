/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of lib/libc share among themselves. */
#ifndef LIB_LIBC_INTERNAL_H
#define LIB_LIBC_INTERNAL_H

#include "desc/desc.h"
#include "libc/heap.h"
#include "libc/libc.h"

struct block;
void libc_prepare(struct block *b, size_t bytes);
void libc_call_entry(void);
int64_t libc_linux_call(uint64_t number, const uint64_t a[6]);
void libc_init(const struct component_info *info, bool root);
int64_t libc_write(const char *text, size_t bytes);

/* The root task's heap, where it states one (LIBC_ROOT_HEAP). */
extern char *const libc_root_heap __attribute__((weak));
extern const size_t libc_root_heap_bytes __attribute__((weak));

#endif
