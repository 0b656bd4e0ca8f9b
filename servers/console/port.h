/* SPDX-License-Identifier: BSD-2-Clause */
/* The two accesses to the UART that cannot be made again: each with the store that commits it in the next
 * instruction. Nothing can fault in between; of a console that was stopped there, the instruction pointer
 * says so, and the next one makes up for the store (servers/init gives it the registers). */
#ifndef SERVERS_CONSOLE_PORT_H
#define SERVERS_CONSOLE_PORT_H

#include "servers/console/flow.h"

struct component_info;

/* A byte goes to the UART, and *left shrinks by one. */
void port_put(uint32_t *left, uint8_t byte);
/* A byte comes from the UART. */
void port_get(uint64_t *received);
/* What the incarnation before this one was about to store. */
struct flow_left port_left(const struct component_info *info);

#endif
