/* SPDX-License-Identifier: BSD-2-Clause */
/* PCI configuration ports CF8h and CFCh of a machine without PCI: reads give ones, writes go nowhere.
 *
 * Stateless. They are in the port table so that a guest's probe for a bus is not counted as an access to
 * nothing; CF9h between them is power.h's. */
#ifndef VMM_DEV_PCI_H
#define VMM_DEV_PCI_H

#include <stdint.h>

static inline uint32_t pci_absent_in(void)
{
    return 0xffffffff;
}

#endif
