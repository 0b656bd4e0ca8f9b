/* SPDX-License-Identifier: BSD-2-Clause */
/* Base64 (RFC 4648, 4), with its padding. No system calls, host-testable (tests/host/control/test_json.c). */
#ifndef SERVERS_CONTROL_BASE64_H
#define SERVERS_CONTROL_BASE64_H

#include <stdbool.h>
#include <stdint.h>

/* base64_read - what text[0 .. n) means, *bytes of it, to to[0 .. room). False: it means nothing, or more. */
bool base64_read(const char *text, uint32_t n, uint8_t *to, uint32_t room, uint32_t *bytes);

#endif
