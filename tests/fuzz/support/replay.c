/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs a target over the inputs of a corpus, without libFuzzer. A corpus is text: an input a line, in base64,
 * `pin ` before those that are never dropped, # before a remark. Ends with 1, and says which line, if an
 * input is a finding or is no base64. */
#include "fuzz.h"
#include "servers/control/base64.h"

#include <sanitizer/common_interface_defs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECONDS 120 /* of one input; a hang */

static char where[256];

static void say_where(void)
{
    static const char text[] = "finding: ";
    if (write(2, text, sizeof(text) - 1) < 0 || write(2, where, strlen(where)) < 0)
        _exit(3);
}

static void ended(int number)
{
    (void)number;
    say_where();
    _exit(1);
}

static bool run(const char *text, uint32_t n)
{
    uint32_t bytes, room = n / 4 * 3;
    uint8_t *to = malloc(room ? room : 1);
    bool good = base64_read(text, n, to, room, &bytes);
    if (good) {
        uint8_t *exact = malloc(bytes ? bytes : 1); /* the sanitizer sees each byte too many */
        memcpy(exact, to, bytes);
        alarm(SECONDS);
        LLVMFuzzerTestOneInput(exact, bytes);
        free(exact);
    }
    free(to);
    return good;
}

static bool run_file(const char *name, unsigned *inputs)
{
    FILE *file = fopen(name, "r");
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    bool good = file != NULL;

    for (unsigned number = 1; good && (n = getline(&line, &room, file)) > 0; number++) {
        snprintf(where, sizeof(where), "%s:%u\n", name, number);
        if (line[n - 1] == '\n')
            line[--n] = 0;
        size_t skip = strncmp(line, "pin ", 4) ? 0 : 4;
        if (n == 0 || line[0] == '#')
            continue;
        good = run(line + skip, (uint32_t)((size_t)n - skip));
        *inputs += 1;
    }
    if (!good)
        fprintf(stderr, "%s: no corpus\n", where[0] ? where : name);
    if (file)
        fclose(file);
    free(line);
    return good;
}

int main(int argc, char **argv)
{
    unsigned inputs = 0;
    bool good = true;

    __sanitizer_set_death_callback(say_where);
    signal(SIGABRT, ended);
    signal(SIGALRM, ended);
    for (int i = 1; i < argc; i++)
        good = run_file(argv[i], &inputs) && good;
    printf("%u inputs\n", inputs);
    return !good;
}
