/* SPDX-License-Identifier: GPL-3.0-or-later */
/* berthd - the daemon of a station.
 *
 *     berthd                       watches the bays until SIGTERM; reads the configuration again at
 *                                  SIGHUP
 *     berthd --check [FILE]        says what is wrong with the configuration, and ends
 *     berthd --udev-rules FILE     writes the rules by which udev knows the bays, and ends
 *
 * One loop (sd-event) decides, a second thread has the store, a worker process has each drive. */
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include "base/io.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/time.h"
#include "daemon/api.h"
#include "daemon/listen.h"
#include "daemon/config-check.h"
#include "daemon/station.h"
#include "daemon/token.h"
#include "daemon/udev-rules.h"

#define STATE_MODE   0700
#define RUN_MODE     0755
#define EXIT_USAGE   2
#define PRIVATE_MASK 077

struct berthd {
        const char *config_path, *rules_path, *new_token;
        bool check, without_udev;
        int log_level;

        sd_event *loop;
        struct dmn_config *config;
        struct job_store *store;
        struct job_thread *thread;
        struct dmn_station *station;
        struct dmn_api *api;
        struct dmn_listen *listen;
        bool stopping;
};

static void usage(FILE *out)
{
        (void)fputs(
                "Usage: berthd [--config FILE] [--log-level LEVEL] [--no-udev]\n"
                "       berthd --check [FILE]\n"
                "       berthd [--config FILE] --udev-rules FILE\n"
                "       berthd [--config FILE] --new-token RIGHT:NAME\n"
                "\n"
                "The daemon of a Berth station: watches the bays and copies what is docked.\n"
                "\n"
                "      --config FILE      instead of " DMN_CONFIG_PATH "\n"
                "      --check            check the configuration and end\n"
                "      --udev-rules FILE  write the rules by which udev knows the bays, and end\n"
                "      --new-token RIGHT:NAME  add a token for the API over the network, show it\n"
                "                         once, and end; RIGHT: read, operate, admin, station\n"
                "      --no-udev          virtual bays only\n"
                "      --log-level LEVEL  error, warning, notice, info or debug\n"
                "      --help, --version\n",
                out);
}

static int level_of(const char *name)
{
        static const struct {
                const char *name;
                int level;
        } levels[] = { { "error", LOG_ERR },
                       { "warning", LOG_WARNING },
                       { "notice", LOG_NOTICE },
                       { "info", LOG_INFO },
                       { "debug", LOG_DEBUG } };

        for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
                if (strcmp(name, levels[i].name) == 0)
                        return levels[i].level;
        return -EINVAL;
}

/* Returns 0 to go on, else the exit code plus one. */
static int parse_options(struct berthd *b, int argc, char **argv)
{
        static const struct option options[] = { { "config", required_argument, NULL, 'c' },
                                                 { "check", no_argument, NULL, 'k' },
                                                 { "udev-rules", required_argument, NULL, 'u' },
                                                 { "new-token", required_argument, NULL, 't' },
                                                 { "no-udev", no_argument, NULL, 'n' },
                                                 { "log-level", required_argument, NULL, 'l' },
                                                 { "help", no_argument, NULL, 'h' },
                                                 { "version", no_argument, NULL, 'v' },
                                                 { 0 } };
        int o;

        while ((o = getopt_long(argc, argv, "", options, NULL)) >= 0) {
                switch (o) {
                case 'c':
                        b->config_path = optarg;
                        break;
                case 'k':
                        b->check = true;
                        break;
                case 'u':
                        b->rules_path = optarg;
                        break;
                case 't':
                        b->new_token = optarg;
                        break;
                case 'n':
                        b->without_udev = true;
                        break;
                case 'l':
                        b->log_level = level_of(optarg);
                        break;
                case 'h':
                        usage(stdout);
                        return EXIT_SUCCESS + 1;
                case 'v':
                        (void)puts("berthd " BERTH_VERSION);
                        return EXIT_SUCCESS + 1;
                default:
                        usage(stderr);
                        return EXIT_USAGE + 1;
                }
        }
        if (b->check && optind == argc - 1)
                b->config_path = argv[optind++];
        if (optind == argc && b->log_level >= 0)
                return 0;
        usage(stderr);
        return EXIT_USAGE + 1;
}

/* -- the process
 * -------------------------------------------------------------------------------------- */

/* Keys pass through this process: it leaves no core, and nobody of the same user looks in. */
static int make_private(struct bth_error *error)
{
        const struct rlimit none = { 0, 0 };

        (void)umask(PRIVATE_MASK);
        if (prctl(PR_SET_DUMPABLE, 0) == 0 && setrlimit(RLIMIT_CORE, &none) == 0)
                return 0;
        return bth_error_set(error, -errno, BTH_REASON_INTERNAL,
                             "core dumps cannot be turned off: %s", bth_strerror(-errno));
}

static int make_folder(const char *path, mode_t mode, struct bth_error *error)
{
        if (mkdir(path, mode) == 0 || errno == EEXIST)
                return 0;
        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        return bth_error_set(error, -errno, BTH_REASON_FILE_UNWRITABLE,
                             "the folder cannot be made: %s", bth_strerror(-errno));
}

static int open_store(struct berthd *b, struct bth_error *error)
{
        const struct job_policy policy = { .dock_again_usec =
                                                   b->config->dock_again_sec * BTH_USEC_PER_SEC };
        char path[PATH_MAX];
        int r = make_folder(b->config->state_directory, STATE_MODE, error);

        (void)snprintf(path, sizeof path, "%s/store.sqlite", b->config->state_directory);
        if (r == 0)
                r = job_store_open(b->config->database ? b->config->database : path, &b->store,
                                   error);
        if (r == 0)
                r = job_store_restart(b->store, &policy, bth_now_realtime_usec(), error);
        if (r < 0)
                return r;
        r = job_thread_new(b->store, &b->thread);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_INTERNAL,
                                     "the thread of the records cannot be started: %s",
                                     bth_strerror(r));
        b->store = NULL; /* the thread's */
        return 0;
}

/* -- signals
 * ------------------------------------------------------------------------------------------ */

static void on_stopped(void *userdata)
{
        struct berthd *b = userdata;

        bth_log(LOG_NOTICE, "stopped");
        (void)sd_event_exit(b->loop, 0);
}

static int on_stop_signal(sd_event_source *s, const struct signalfd_siginfo *info, void *userdata)
{
        struct berthd *b = userdata;

        (void)s;
        (void)info;
        if (b->stopping)
                return sd_event_exit(b->loop, 0); /* asked twice: workers are killed */
        b->stopping = true;
        (void)sd_notify(0, "STOPPING=1\nSTATUS=waiting for the workers to stop");
        bth_log(LOG_NOTICE, "stopping: drives go on at the next start");
        dmn_station_stop(b->station, on_stopped, b);
        return 0;
}

static int on_reload_signal(sd_event_source *s, const struct signalfd_siginfo *info, void *userdata)
{
        struct berthd *b = userdata;
        struct bth_error error = BTH_ERROR_INIT;

        (void)s;
        (void)info;
        (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
                         (unsigned long long)bth_now_monotonic_usec());
        if (dmn_station_reload(b->station, &error) < 0)
                bth_log_error(LOG_ERR, &error);
        else
                bth_log(LOG_NOTICE, "the configuration was read again");
        (void)sd_notify(0, "READY=1");
        return 0;
}

static int add_signals(struct berthd *b)
{
        static const int numbers[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
        sigset_t set;
        int r;

        sigemptyset(&set);
        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
                sigaddset(&set, numbers[i]);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        (void)signal(SIGPIPE, SIG_IGN);
        r = sd_event_add_signal(b->loop, NULL, SIGTERM, on_stop_signal, b);
        if (r >= 0)
                r = sd_event_add_signal(b->loop, NULL, SIGINT, on_stop_signal, b);
        if (r >= 0)
                r = sd_event_add_signal(b->loop, NULL, SIGHUP, on_reload_signal, b);
        return r < 0 ? r : 0;
}

/* -- running
 * ------------------------------------------------------------------------------------------ */

static int begin_loop(struct berthd *b, struct bth_error *error)
{
        int r = sd_event_default(&b->loop);

        if (r >= 0)
                r = add_signals(b); /* before any thread: they inherit what is blocked */
        if (r >= 0)
                r = sd_event_set_watchdog(b->loop, true);
        return r < 0 ? bth_error_set(error, r, BTH_REASON_INTERNAL, "the loop cannot begin: %s",
                                     bth_strerror(r))
                     : 0;
}

/* Last: who can connect finds everything there. */
static int begin_api(struct berthd *b, struct bth_error *error)
{
        const struct dmn_config *config = dmn_station_config(b->station);
        int fd;
        int r = dmn_api_listen(config->run_directory, &fd, error);

        return r < 0 ? r : dmn_api_new(b->station, fd, config->operators, &b->api, error);
}

static int on_reload(void *userdata, const struct dmn_config *next, struct bth_error *error)
{
        return dmn_listen_reload(((struct berthd *)userdata)->listen, next, error);
}

static int begin_listen(struct berthd *b, struct bth_error *error)
{
        int r = dmn_listen_new(b->station, &b->listen, error);

        if (r == 0)
                dmn_station_on_reload(b->station, on_reload, b);
        return r;
}

static int begin(struct berthd *b, struct bth_error *error)
{
        struct dmn_station_options options = { .config_path = b->config_path,
                                               .without_udev = b->without_udev };
        int r = begin_loop(b, error);

        if (r == 0)
                r = make_folder(b->config->run_directory, RUN_MODE, error);
        if (r == 0)
                r = open_store(b, error);
        if (r < 0)
                return r;
        options.loop = b->loop;
        options.store = b->thread;
        options.config = b->config;
        r = dmn_station_new(&options, &b->station, error);
        if (r < 0)
                return r;
        b->config = NULL; /* the station's */
        r = begin_api(b, error);
        return r < 0 ? r : begin_listen(b, error);
}

static void end(struct berthd *b)
{
        b->listen = dmn_listen_free(b->listen);
        b->api = dmn_api_free(b->api);
        b->station = dmn_station_free(b->station);
        b->thread = job_thread_free(b->thread);
        b->store = job_store_close(b->store);
        b->config = dmn_config_free(b->config);
        b->loop = sd_event_unref(b->loop);
}

static void print_finding(void *userdata, const struct dmn_config_finding *f)
{
        char text[2048];

        (void)userdata;
        (void)printf("%s: %s\n", f->is_error ? "error" : "warning",
                     bth_error_to_string(&f->error, text, sizeof text));
}

/* The user the daemon runs as: whoever has its records, when root asks; else who asks. */
static void find_service(const struct dmn_config *c, uid_t *ret_user, gid_t *ret_group)
{
        struct stat st;

        *ret_user = geteuid();
        *ret_group = getegid();
        if (*ret_user == 0 && stat(c->state_directory, &st) == 0) {
                *ret_user = st.st_uid;
                *ret_group = st.st_gid;
        }
}

/* Root can read everything, and would find no fault with what is closed to the daemon. */
static int look_as_service(const char *config_path)
{
        _cleanup_(dmn_config_freep) struct dmn_config *c = NULL;
        struct bth_error ignored = BTH_ERROR_INIT; /* the check itself tells it */
        const struct passwd *entry;
        uid_t user;
        gid_t group;

        if (geteuid() != 0 || dmn_config_load(config_path, &c, &ignored) < 0)
                return 0;
        find_service(c, &user, &group);
        if (user == 0)
                return 0;
        entry = getpwuid(user);
        if ((entry ? initgroups(entry->pw_name, group) : setgroups(0, NULL)) < 0 ||
            setegid(group) < 0 || seteuid(user) < 0)
                return -errno;
        (void)printf("note: looked at as %s, whom the daemon runs as\n",
                     entry ? entry->pw_name : "its user");
        return 0;
}

/* Returns the exit code. */
static int check(const struct berthd *b)
{
        int n;

        if (look_as_service(b->config_path) < 0)
                (void)puts("warning: this is what root can read, not what the daemon can");
        n = dmn_config_check_file(b->config_path, print_finding, NULL);
        if (n == 0)
                (void)printf("%s: well\n", b->config_path);
        return n == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* The only time that it is seen: the file has its hash. */
static int show_new_token(const struct berthd *b, struct bth_error *error)
{
        _cleanup_(bth_secret_freep) struct bth_secret *token = NULL;
        uid_t user;
        gid_t group;
        int r;

        find_service(b->config, &user, &group);
        if (!b->config->api.tokens)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_MISSING,
                                     "the configuration names no file of tokens: [api] tokens");
        r = dmn_tokens_add(b->config->api.tokens, b->new_token, user, group, &token, error);
        if (r == 0)
                r = bth_write_full(STDOUT_FILENO, token->data, token->length_bytes);
        if (r == 0)
                r = bth_write_full(STDOUT_FILENO, "\n", 1);
        return r;
}

static int run(struct berthd *b, struct bth_error *error)
{
        int r = make_private(error);

        if (r == 0)
                r = dmn_config_load(b->config_path, &b->config, error);
        if (r == 0 && b->rules_path)
                r = dmn_udev_rules_write(b->config, b->rules_path, error);
        if (r == 0 && b->new_token)
                r = show_new_token(b, error);
        if (r < 0 || b->rules_path || b->new_token)
                return r;
        r = begin(b, error);
        if (r < 0)
                return r;
        (void)sd_notify(0, "READY=1\nSTATUS=watching the bays");
        bth_log(LOG_NOTICE, "berthd " BERTH_VERSION " watches the bays");
        r = sd_event_loop(b->loop);
        return r < 0 ? bth_error_set(error, r, BTH_REASON_INTERNAL, "the loop failed: %s",
                                     bth_strerror(r))
                     : 0;
}

int main(int argc, char **argv)
{
        struct berthd b = { .config_path = DMN_CONFIG_PATH, .log_level = LOG_INFO };
        struct bth_error error = BTH_ERROR_INIT;
        int r = parse_options(&b, argc, argv);

        if (r > 0)
                return r - 1;
        bth_log_open(BTH_LOG_TARGET_AUTO, b.log_level);
        if (b.check)
                return check(&b);
        r = run(&b, &error);
        if (r < 0)
                bth_log_error(LOG_ERR, &error);
        end(&b);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
