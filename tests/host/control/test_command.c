/* SPDX-License-Identifier: BSD-2-Clause */
// USES: servers/control/command.c servers/control/json.c servers/control/base64.c
/* Answers of the management channel over an init that says the most it can. */
#include "check.h"
#include "components_types.h"
#include "control_component.h"
#include "management.h"
#include "servers/control/command.h"
#include <string.h>

static uint32_t guests, servers;

#define CHOSEN '"' /* a VMM chose this text: a character that takes two in an answer (none takes more) */

static void fill(char *to, size_t room, char with)
{
    memset(to, with, room - 1);
    to[room - 1] = 0;
}

err_t management_guest(cptr_t ep, uint32_t number, struct guest_info *info)
{
    (void)ep;
    if (number >= guests)
        return ERR_RANGE;
    memset(info, 0xff, sizeof(*info));
    fill(info->name, sizeof(info->name), 'n');
    info->phase = GUEST_PHASE_DESTROYING;
    info->successor = false;
    fill(info->program, sizeof(info->program), CHOSEN);
    fill(info->next, sizeof(info->next), CHOSEN);
    fill(info->ended, sizeof(info->ended), CHOSEN);
    return ERR_OK;
}

err_t management_server(cptr_t ep, uint32_t number, struct server_info *info)
{
    (void)ep;
    if (number >= servers)
        return ERR_RANGE;
    memset(info, 0xff, sizeof(*info));
    fill(info->name, sizeof(info->name), 's');
    info->running = info->ended = info->successor = false;
    fill(info->why, sizeof(info->why), CHOSEN);
    return ERR_OK;
}

#define REFUSES(name, ...)                                                                                   \
    err_t management_##name(cptr_t ep, __VA_ARGS__)                                                          \
    {                                                                                                        \
        return (void)ep, ERR_RANGE;                                                                          \
    }
#pragma GCC diagnostic ignored "-Wunused-parameter"
REFUSES(upload, uint32_t number, uint32_t size, uint32_t crc)
REFUSES(piece, uint32_t offset, const uint8_t *data, uint32_t data_len)
REFUSES(upgrade, uint32_t number)
REFUSES(upgraded, uint32_t number, upgrade_phase_t *phase, char text[96])
REFUSES(audit, uint32_t number)
REFUSES(audited, uint32_t number, struct audit_info *info)
REFUSES(report, uint32_t number, uint32_t offset, uint8_t text[448], uint32_t *text_len)
REFUSES(server_report, uint32_t number, uint32_t offset, uint8_t text[448], uint32_t *text_len)
REFUSES(server_restart, uint32_t number)
REFUSES(create, uint32_t pages, uint32_t percent, const char *name, const char *kernel, const char *initrd,
        const char *line)
REFUSES(destroy, uint32_t number)
REFUSES(places, struct places_info *info)
REFUSES(act, uint32_t number, guest_action_t action)

TEST(a_list_is_answered_whatever_all_vmms_call_themselves)
{
    static char line[] = "{\"id\":18446744073709551615,\"command\":\"list\"}", answer[ANSWER_MAX];
    static const char begins[] = "{\"id\":18446744073709551615,\"ok\":true,\"guests\":[{";

    guests = CONSOLE_GUESTS;
    servers = DESC_COMPONENTS_MAX - CONSOLE_GUESTS;
    size_t n = command_answer(line, sizeof(line) - 1, false, answer);
    CHECK(n > sizeof(begins) && memcmp(answer, begins, sizeof(begins) - 1) == 0);
    CHECK(memcmp(answer + n - 4, "}]}\n", 4) == 0);
}
