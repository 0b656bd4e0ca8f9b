/* SPDX-License-Identifier: BSD-2-Clause */
/* What every component does with its endpoint: receive, answer, log by its supervisor.
 *
 * Messages are copied out of the registers and the IPC buffer at once, so whoever handles one may send
 * others. */
#ifndef LIB_COMPONENT_COMPONENT_H
#define LIB_COMPONENT_COMPONENT_H

#include "idl/transport.h"

/* component_receive - wait for a message or, where a Notification is bound, a signal (TAG_SIGNAL: badge = its
 * bits). reply   Reply object, the right to answer what comes Returns the kernel's error; *m is then not
 * changed. */
err_t component_receive(cptr_t endpoint, cptr_t reply, struct umbra_message *m);

/* component_answer - send *m as the answer to the message that `reply` holds. */
err_t component_answer(cptr_t reply, const struct umbra_message *m);

/* component_log_to - from now on output (printf) goes to init as lines, by the supervisor interface at
 * `supervisor`. */
void component_log_to(cptr_t supervisor);

#endif
