/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-config - `config`: what is in force, by the station; what is written, checked by
 * `berthd --check`, so that there is one reader of configuration only. */
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include "base/io.h"
#include "ctl/ctl.h"

#define OUTPUT_MAX_BYTES ((size_t)1 << 20)

extern char **environ;

/* ---- in force ---- */

static void add_value(struct ctl_table *t, const char *key, const json_t *value)
{
        if (json_is_string(value))
                ctl_fact(t, key, json_string_value(value));
        else if (json_is_boolean(value))
                ctl_fact(t, key, json_is_true(value) ? "yes" : "no");
        else if (json_is_integer(value))
                ctl_fact_format(t, key, "%lld", (long long)json_integer_value(value));
}

static enum ctl_exit show_config(struct ctl_context *c, json_t *config)
{
        static const struct ctl_column columns[] = {
                { "ACCOUNT" },
                { "ENDPOINT", .may_shrink = true },
                { "CREDENTIAL" },
                { "FROM", .may_shrink = true },
                { "CONTAINERS", .may_shrink = true },
        };
        _cleanup_table_ struct ctl_table facts = CTL_TABLE(ctl_fact_columns);
        _cleanup_table_ struct ctl_table accounts = CTL_TABLE(columns);
        enum ctl_exit code;
        const char *key;
        json_t *value;
        size_t i;

        json_object_foreach(config, key, value) add_value(&facts, key, value);
        json_array_foreach(json_object_get(config, "bays"), i, value)
                ctl_fact(&facts, i == 0 ? "bays" : " ", json_string_value(value));
        code = ctl_print(c, &facts);
        json_array_foreach(json_object_get(config, "accounts"), i, value)
        {
                ctl_table_add(&accounts, ctl_text_of(value, "name"));
                ctl_table_add(&accounts, ctl_text_of(value, "endpoint"));
                ctl_table_add(&accounts, ctl_text_of(value, "credential"));
                ctl_table_add(&accounts, ctl_text_of(value, "credential_file"));
                ctl_table_add(&accounts, ctl_text_of(value, "containers"));
        }
        if (code != CTL_EXIT_OK || accounts.n_cells == 0)
                return code;
        ctl_say(c, "%s", "");
        return ctl_print(c, &accounts);
}

/* ---- check ---- */

/* Beside this program, where it was built or installed together; else by PATH. */
static const char *find_berthd(char *path, size_t size)
{
        char self[PATH_MAX];
        const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
        static const char *const places[] = { "berthd", "../sbin/berthd", "../libexec/berth/berthd",
                                              "../daemon/berthd" };
        char *slash;

        if (n > 0) {
                self[n] = '\0';
                slash = strrchr(self, '/');
                for (size_t i = 0; slash && i < ARRAY_SIZE(places); i++) {
                        slash[1] = '\0';
                        (void)snprintf(path, size, "%s%s", self, places[i]);
                        if (access(path, X_OK) == 0)
                                return path;
                }
        }
        return "berthd";
}

/* Runs it and keeps what it says, on whichever stream. Returns its exit code, or -errno. */
static int run_check(const char *file, char **ret_output)
{
        char path[PATH_MAX], check[] = "--check", config[] = "--config", name[] = "berthd";
        _cleanup_free_ char *copy = file ? strdup(file) : NULL;
        char *argv[] = { name, check, copy ? config : NULL, copy, NULL };
        _cleanup_close_ int output = BTH_FD_NONE;
        posix_spawn_file_actions_t actions;
        int ends[2], r, status = 0;
        pid_t pid;
        size_t n;

        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        output = ends[0];
        if (posix_spawn_file_actions_init(&actions) != 0) {
                (void)bth_close(ends[1]);
                return -ENOMEM;
        }
        r = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
        if (r == 0)
                r = posix_spawnp(&pid, find_berthd(path, sizeof path), &actions, NULL, argv,
                                 environ);
        (void)posix_spawn_file_actions_destroy(&actions);
        (void)bth_close(ends[1]);
        if (r != 0)
                return -r;
        r = bth_read_fd(output, OUTPUT_MAX_BYTES, ret_output, &n);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (r < 0)
                return r;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -ECHILD;
}

static enum ctl_exit check(struct ctl_context *c, const char *file)
{
        _cleanup_free_ char *output = NULL;
        struct bth_error error = BTH_ERROR_INIT;
        int r = run_check(file, &output);
        char *line, *rest;
        json_t *text;

        if (r < 0) {
                (void)bth_error_set(&error, r, BTH_REASON_INTERNAL, "berthd cannot be run: %s",
                                    bth_strerror(r));
                bth_error_advise(&error, "install it, or add its folder to PATH");
                ctl_fail(c, &error);
                return CTL_EXIT_FAILED;
        }
        ctl_report(c, "valid", json_boolean(r == 0));
        text = json_string(output);
        if (text) /* else it is no UTF-8 */
                ctl_report(c, "output", text);
        for (line = strtok_r(output, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
                char shown[2048];

                ctl_say(c, "%s", bth_escape(line, strlen(line), shown, sizeof shown));
        }
        if (r == 0 && output[0] == '\0')
                ctl_say(c, "The configuration is in order.");
        return r == 0 ? CTL_EXIT_OK : CTL_EXIT_FINDINGS;
}

static enum ctl_exit run(struct ctl_context *c, int argc, char **argv)
{
        _cleanup_client_ struct ctl_client k = { 0 };
        bool check_only = false;
        const char *file = NULL;
        const struct ctl_option options[] = {
                { "check", NULL, "say what is wrong with the files, and ask no station",
                  .flag = &check_only },
                { "config", "FILE", "with --check: this file instead of /etc/berth/berthd.conf",
                  .text = &file },
        };
        enum ctl_exit code;
        json_t *answer;
        char **words;
        int n, r;

        r = ctl_client_options(&k, c, options, ARRAY_SIZE(options), argc, argv, 0, 0, &words, &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        if (check_only)
                return check(c, file);
        if (file) {
                fprintf(stderr, "%s config: --config goes with --check.\n", c->program);
                return CTL_EXIT_USAGE;
        }
        code = ctl_client_ask(&k, &(struct ctl_ask){ CTL_REQUEST_CONFIG_SHOW }, &answer);
        if (code != CTL_EXIT_OK || c->json)
                return code;
        return show_config(c, answer);
}

const struct ctl_verb ctl_config = {
        .name = "config",
        .summary = "Shows the configuration in force, or checks the one that is written.",
        .run = run,
};
