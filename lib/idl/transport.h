/* SPDX-License-Identifier: BSD-2-Clause */
/* What generated stubs need of a transport: one message in memory and one call.
 *
 * On the target umbra_transport_call is a SYS_CALL whose first four words lie in registers; in host tests it
 * is a loopback into a dispatch function. Receive loops fill a message, call IFACE_dispatch and answer with
 * it. */
#ifndef LIB_IDL_TRANSPORT_H
#define LIB_IDL_TRANSPORT_H

#include <umbra/syscall.h>

/* badge   of the capability the sender used (received messages only)
 * tag     as on the wire (umbra/syscall.h); only w[0 .. TAG_WORDS(tag)) mean anything
 * caps    sent: the capabilities to derive into the receiver. Received: the slots where they lie
 * ncaps   equals TAG_NCAPS(tag) */
struct umbra_message {
    uint64_t badge, tag;
    uint64_t w[MSG_WORDS_MAX];
    cptr_t caps[MSG_CAPS_MAX];
    uint32_t ncaps;
};

/* umbra_transport_call - send *m to endpoint ep and wait for the answer, which replaces *m.
 * Returns the kernel's error when there was no answer; *m is then as before the call. What the server
 * answered, errors included, is in m->tag. */
err_t umbra_transport_call(cptr_t ep, struct umbra_message *m);

#endif
