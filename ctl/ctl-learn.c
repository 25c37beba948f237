/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-learn - `bays`: where they are; `bays --learn`: a drive is docked where a bay is to be, the
 * station sees its place, and the operator names it. The section of the configuration is printed,
 * or written into a drop-in, which the station is told to read. */
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "ctl/ctl.h"
#include "hal/bay.h"

#define BAYS_FILE       "/etc/berth/berthd.conf.d/bays.conf"
#define BAYS_FILE_MAX   ((size_t)1 << 20)
#define LOOK_EVERY_NSEC 500000000L
#define PLACES_SEEN_MAX 1024u

struct learn {
        struct ctl_client client;
        const char *name; /* --name */
        const char *file; /* --file */
        bool write;
        json_t *seen; /* object: drives that were there before, by their sequence and node */
        json_t *learned;
};

/* ---- the list ---- */

static enum ctl_exit list(struct ctl_client *k)
{
        static const struct ctl_column columns[] = {
                { "BAY" },
                { "STATE" },
                { "LAMP" },
                { "PLACES", .may_shrink = true },
        };
        _cleanup_table_ struct ctl_table t = CTL_TABLE(columns);
        enum ctl_exit code;
        json_t *answer, *bay, *place;
        size_t i, j;

        code = ctl_client_ask(k, &(struct ctl_ask){ CTL_REQUEST_BAYS_LIST }, &answer);
        if (code != CTL_EXIT_OK || k->context->json)
                return code;
        json_array_foreach(json_object_get(answer, "bays"), i, bay)
        {
                _cleanup_buf_ struct bth_buf places = BTH_BUF_INIT;

                json_array_foreach(json_object_get(bay, "places"), j,
                                   place) if (json_is_string(place) &&
                                              bth_buf_add_format(&places, "%s%s", j > 0 ? "  " : "",
                                                                 json_string_value(place)) < 0)
                        t.failed = true;
                ctl_table_add(&t, ctl_text_of(bay, "bay"));
                ctl_table_add(&t, ctl_text_of(bay, "state"));
                ctl_table_add(&t, json_is_true(json_object_get(bay, "lamps")) ? "yes" : "no");
                ctl_table_add(&t, places.data);
        }
        if (t.n_cells == 0 && !t.failed) {
                ctl_say(k->context, "The station has no bays. 'berthctl bays --learn' names them.");
                return CTL_EXIT_OK;
        }
        return ctl_print(k->context, &t);
}

/* ---- waiting for a drive ---- */

/* A docking, not a place: the same drive docked again counts anew. Returns `out`. */
static char *docking_key(const json_t *place, char out[300])
{
        uint64_t sequence = 0;

        (void)ctl_number_of(place, "sequence", &sequence);
        (void)snprintf(out, 300, "%llu %.255s", (unsigned long long)sequence,
                       ctl_text_of(place, "node"));
        return out;
}

/* The first place of a docking that was not there before: NULL when there is none. Whatever is
 * there now counts as seen. */
static const json_t *find_new(struct learn *l, const json_t *places)
{
        const json_t *place, *found = NULL;
        char key[300];
        size_t i;

        json_array_foreach(places, i, place)
        {
                if (json_array_size(json_object_get(place, "places")) == 0)
                        continue; /* it is being looked at still */
                docking_key(place, key);
                if (json_object_get(l->seen, key) || json_object_size(l->seen) >= PLACES_SEEN_MAX)
                        continue;
                (void)json_object_set_new(l->seen, key, json_true());
                if (!found)
                        found = place;
        }
        return found;
}

static enum ctl_exit look(struct learn *l, const json_t **ret_found)
{
        struct bth_error error = BTH_ERROR_INIT;
        json_t *answer;

        *ret_found = NULL;
        if (ctl_client_send(&l->client, &(struct ctl_ask){ CTL_REQUEST_PLACES_LIST }, &answer,
                            &error) < 0)
                return ctl_client_fail(&l->client, &error);
        *ret_found = find_new(l, json_object_get(answer, "places"));
        return CTL_EXIT_OK;
}

static enum ctl_exit wait_for_drive(struct learn *l, const json_t **ret_place)
{
        const struct timespec pause = { .tv_nsec = LOOK_EVERY_NSEC };
        enum ctl_exit code;

        for (;;) {
                code = look(l, ret_place);
                if (code != CTL_EXIT_OK)
                        return code;
                if (*ret_place && ctl_text_of(*ret_place, "bay")[0] == '\0')
                        return CTL_EXIT_OK;
                if (*ret_place) {
                        char bay[256];
                        const char *name = ctl_text_of(*ret_place, "bay");

                        fprintf(stderr, "That is bay %s already.\n",
                                bth_escape(name, strlen(name), bay, sizeof bay));
                        continue;
                }
                (void)nanosleep(&pause, NULL);
        }
}

/* ---- the section ---- */

/* "[bay NAME]\nid_path = …\n" from what the station calls "id-path:…". */
static int make_section(const char *name, const char *place, struct bth_buf *out,
                        struct bth_error *error)
{
        _cleanup_(hal_bays_clearp) struct hal_bays check = { 0 };
        const char *colon = strchr(place, ':');
        int r = hal_bays_add(&check, name, place, error);

        if (r < 0)
                return r;
        r = bth_buf_add_format(out, "[bay %s]\n", name);
        for (const char *p = place; r >= 0 && p < colon; p++)
                r = bth_buf_add(out, *p == '-' ? "_" : p, 1);
        return r < 0 ? r : bth_buf_add_format(out, " = %s\n", colon + 1);
}

static int append(const char *path, const char *section, struct bth_error *error)
{
        _cleanup_buf_ struct bth_buf text = BTH_BUF_INIT;
        _cleanup_free_ char *before = NULL;
        size_t n = 0;
        int r = bth_read_file(path, BAYS_FILE_MAX, &before, &n);

        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        if (r < 0 && r != -ENOENT)
                return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE,
                                     "the file cannot be read: %s", bth_strerror(r));
        r = n > 0 ? bth_buf_add(&text, before, n) : 0;
        if (r >= 0 && n > 0)
                r = bth_buf_add_string(&text, before[n - 1] == '\n' ? "\n" : "\n\n");
        if (r >= 0)
                r = bth_buf_add_string(&text, section);
        if (r >= 0)
                r = bth_write_file_atomic(path, text.data, text.length, 0644);
        return r < 0 ? bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE,
                                     "the bay cannot be written: %s", bth_strerror(r))
                     : 0;
}

static enum ctl_exit write_section(struct learn *l, const char *name, const char *section)
{
        struct ctl_context *c = l->client.context;
        struct bth_error error = BTH_ERROR_INIT;
        int r;

        if (c->dry_run) {
                ctl_say(c, "Would write to %s:", l->file);
                ctl_say(c, "%s", section);
                return CTL_EXIT_OK;
        }
        r = append(l->file, section, &error);
        if (r < 0) {
                ctl_fail(c, &error);
                return CTL_EXIT_FAILED;
        }
        r = ctl_client_send(&l->client, &(struct ctl_ask){ CTL_REQUEST_RELOAD }, NULL, &error);
        if (r < 0) {
                ctl_warn(c, "the bay is written to %s, but the station did not take it over",
                         l->file);
                return ctl_client_fail(&l->client, &error);
        }
        ctl_say(c, "Bay %s is written to %s, and the station knows it.", name, l->file);
        return CTL_EXIT_OK;
}

/* Is there none of that name? */
static enum ctl_exit check_name(struct learn *l, const char *name)
{
        struct bth_error error = BTH_ERROR_INIT;
        int r = ctl_client_send(&l->client,
                                &(struct ctl_ask){ CTL_REQUEST_BAY_SHOW, .target = name }, NULL,
                                &error);

        if (r == -ENOENT)
                return CTL_EXIT_OK;
        if (r < 0)
                return ctl_client_fail(&l->client, &error);
        bth_error_at(&error, name, 0, BTH_ERROR_NO_OFFSET);
        (void)bth_error_set(&error, -EEXIST, BTH_REASON_CONFLICT,
                            "there is a bay of this name already");
        bth_error_advise(&error, "choose another name");
        ctl_fail(l->client.context, &error);
        return CTL_EXIT_FINDINGS;
}

static enum ctl_exit name_it(struct learn *l, const char *name, const char *place)
{
        _cleanup_buf_ struct bth_buf section = BTH_BUF_INIT;
        struct bth_error error = BTH_ERROR_INIT;
        enum ctl_exit code;

        if (make_section(name, place, &section, &error) < 0) {
                ctl_fail(l->client.context, &error);
                return CTL_EXIT_USAGE;
        }
        code = check_name(l, name);
        if (code != CTL_EXIT_OK)
                return code;
        (void)json_array_append_new(l->learned, json_pack("{s:s, s:s, s:s}", "bay", name, "place",
                                                          place, "section", section.data));
        if (l->write)
                return write_section(l, name, section.data);
        ctl_say(l->client.context, "%s", section.data);
        return CTL_EXIT_OK;
}

/* ---- learning ---- */

static void describe(const json_t *place, const char *text)
{
        const json_t *drive = json_object_get(place, "drive");
        char raw[1024], shown[1024];

        (void)snprintf(raw, sizeof raw, "Drive %.200s (%.200s) is at %.300s.",
                       ctl_text_of(drive, "serial"), ctl_text_of(drive, "model"), text);
        fprintf(stderr, "%s\n", bth_escape(raw, strlen(raw), shown, sizeof shown));
}

/* The next line of stdin without its end. False at the end of it, or for an empty one. */
static bool read_name(char *name, size_t size)
{
        fprintf(stderr, "The name of this bay (nothing ends): ");
        if (!fgets(name, (int)size, stdin))
                return false;
        name[strcspn(name, "\n")] = '\0';
        return name[0] != '\0';
}

static enum ctl_exit learn_one(struct learn *l, bool *ret_more)
{
        _cleanup_free_ char *where = NULL;
        char asked[256];
        const json_t *place;
        enum ctl_exit code = wait_for_drive(l, &place);

        if (code != CTL_EXIT_OK)
                return code;
        where = strdup(json_string_value(json_array_get(json_object_get(place, "places"), 0))
                               ?: "");
        if (!where)
                return CTL_EXIT_FAILED;
        describe(place, where);
        *ret_more = !l->name;
        if (l->name)
                return name_it(l, l->name, where);
        if (!read_name(asked, sizeof asked)) {
                *ret_more = false;
                return CTL_EXIT_OK;
        }
        code = name_it(l, asked, where);
        /* A name that is not allowed is no end: the drive can be docked again. */
        return code == CTL_EXIT_USAGE || code == CTL_EXIT_FINDINGS ? CTL_EXIT_OK : code;
}

static enum ctl_exit learn(struct learn *l)
{
        struct ctl_context *c = l->client.context;
        const json_t *ignored;
        bool more = true;
        enum ctl_exit code;

        if (!l->name && !isatty(STDIN_FILENO)) {
                fprintf(stderr, "%s bays: --learn needs --name where nobody can be asked.\n",
                        c->program);
                return CTL_EXIT_USAGE;
        }
        l->seen = json_object();
        l->learned = json_array();
        if (!l->seen || !l->learned)
                return CTL_EXIT_FAILED;
        code = look(l, &ignored);
        while (code == CTL_EXIT_OK && more) {
                fprintf(stderr, "Dock a drive where %s%s is to be.\n", l->name ? "bay " : "a bay",
                        l->name ? l->name : "");
                code = learn_one(l, &more);
        }
        if (code == CTL_EXIT_OK)
                ctl_report(c, "bays", json_incref(l->learned));
        return code;
}

static enum ctl_exit run(struct ctl_context *c, int argc, char **argv)
{
        struct learn l = { .file = BAYS_FILE };
        bool learning = false;
        const struct ctl_option options[] = {
                { "learn", NULL, "wait for a drive to be docked, and name its place",
                  .flag = &learning },
                { "name", "BAY", "with --learn: the name; asked for when not given",
                  .text = &l.name },
                { "write", NULL, "with --learn: into the configuration, which is then read again",
                  .flag = &l.write },
                { "file", "FILE", "with --write: instead of " BAYS_FILE, .text = &l.file },
        };
        enum ctl_exit code;
        char **words;
        int n, r;

        r = ctl_client_options(&l.client, c, options, ARRAY_SIZE(options), argc, argv, 0, 0, &words,
                               &n);
        if (r != 0)
                return ctl_exit_of_options(r);
        if (!learning && (l.name || l.write)) {
                fprintf(stderr, "%s bays: --name and --write go with --learn.\n", c->program);
                return CTL_EXIT_USAGE;
        }
        code = learning ? learn(&l) : list(&l.client);
        json_decref(l.seen);
        json_decref(l.learned);
        ctl_client_clear(&l.client);
        return code;
}

const struct ctl_verb ctl_bays = {
        .name = "bays",
        .summary = "Lists where the bays are, or learns new ones.",
        .details = "Dock a drive, name the bay: --learn prints its section of the configuration. "
                   "After --write,\n\"systemctl reload berth-bays\" keeps the rest of the system "
                   "from touching drives in it.",
        .run = run,
};
