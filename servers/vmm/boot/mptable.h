/* SPDX-License-Identifier: BSD-2-Clause */
/* The MP configuration table (Intel MultiProcessor Specification 1.4, chapter 4): says that there is one
 * processor with a local APIC, an I/O APIC that the ISA lines lead to, and the 8259 pair at LINT0.
 *
 * It lies in the EBDA, where operating systems look first: one that finds none searches the whole BIOS area,
 * Linux by mapping it anew every 16 bytes. */
#ifndef VMM_BOOT_MPTABLE_H
#define VMM_BOOT_MPTABLE_H

#include "servers/vmm/boot/boot.h"

#define MP_POINTER (BOOT_BASE_END + 0x10) /* the EBDA begins with its size */
#define MP_TABLE   (BOOT_BASE_END + 0x20)
#define MP_END     (BOOT_BASE_END + 0x400)

/* boot_write_mp - pointer structure and table. False if memory refuses. */
bool boot_write_mp(const struct boot_memory *m);

#endif
