/* SPDX-License-Identifier: GPL-3.0-or-later */
/* hotplug - the list of dockings, flapping, and the threads that identify.
 *
 * Lock order: there is one lock, `done_lock`, around the list of finished identifications; nothing
 * is called under it. A seat lives until its docking is gone and no thread identifies it: a thread
 * has a copy of all it needs, and finds the seat again by its number. */
#include "hal/hotplug.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/str.h"
#include "base/time.h"

#define SHORT_USEC     (3 * BTH_USEC_PER_SEC)
#define QUIET_USEC     (10 * BTH_USEC_PER_SEC)
#define FLAP_STAYS     3u /* short stays in a row */
#define FLAP_FORGET    6  /* quiet times after which a bay's stays do not count any more */
#define HINT_MAX       128
#define STACK_BYTES    ((size_t)256 << 10) /* of a thread that identifies */
#define TIMER_ACCURACY (BTH_USEC_PER_SEC / 10)

static const struct {
        const char *name, *sentence;
} states[] = {
#define X(id, name, sentence) { name, sentence },
        HAL_DOCKING_STATES(X)
#undef X
};

/* One docking and what belongs to it. */
struct seat {
        struct hal_docking docking;
        struct hal_hotplug *hotplug;
        struct seat *next;
        uint64_t number; /* of the seat, never used again */
        uint64_t appeared_usec;
        bool seen;  /* in the look that is under way */
        bool again; /* changed while it was identified: identify once more */
        dev_t device;
        char id_bus[HINT_MAX], scsi_serial[HINT_MAX], serial_short[HINT_MAX];
        sd_event_source *timer; /* FLAPPING */
};

/* One thread's work: all copies. */
struct identification {
        struct hal_hotplug *hotplug;
        struct identification *next;
        pthread_t thread;
        uint64_t number;
        struct seat copy;
        struct hal_identity identity;
        struct bth_error error;
        int r;
};

/* How the last stays in a bay were. */
struct manners {
        unsigned short_stays;
        uint64_t last_vanished_usec;
};

struct hal_hotplug {
        sd_event *loop;
        struct hal_hotplug_options options;
        struct seat *seats; /* in the order in which they came */
        size_t n_seats;
        uint64_t last_number;
        struct manners *manners; /* a bay each */
        int done_fd;             /* eventfd: something is in `done` */
        sd_event_source *done_source;
        size_t n_running;
        pthread_mutex_t done_lock; /* of `done` */
        pthread_cond_t done_some;
        struct identification *done;
};

const char *hal_docking_state_to_string(enum hal_docking_state s)
{
        return s >= 0 && s < _HAL_DOCKING_STATE_MAX ? states[s].name : NULL;
}

enum hal_docking_state hal_docking_state_from_string(const char *name)
{
        for (int i = 0; i < _HAL_DOCKING_STATE_MAX; i++)
                if (bth_streq(name, states[i].name))
                        return (enum hal_docking_state)i;
        return _HAL_DOCKING_STATE_INVALID;
}

const char *hal_docking_state_sentence(enum hal_docking_state s)
{
        return s >= 0 && s < _HAL_DOCKING_STATE_MAX ? states[s].sentence : "";
}

static uint64_t now_usec(void)
{
        return bth_now_monotonic_usec();
}

static void tell(struct seat *s)
{
        s->hotplug->options.handler(&s->docking, s->hotplug->options.userdata);
}

static void set_state(struct seat *s, enum hal_docking_state state)
{
        s->docking.state = state;
        tell(s);
}

/* ---- opening ---- */

/* The kernel's number of the docking; 0 where it has none (before 5.15). */
static uint64_t sequence_of_fd(const struct hal_host *host, int fd)
{
#ifdef BLKGETDISKSEQ
        uint64_t sequence = 0;

        if (hal_host_ioctl(host, fd, BLKGETDISKSEQ, &sequence) == 0)
                return sequence;
#endif
        return 0;
}

static int check_same(const struct hal_docking *d, const struct hal_host *host, int fd)
{
        struct stat st;
        uint64_t sequence;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (d->is_virtual)
                return S_ISREG(st.st_mode) && st.st_dev == d->file_device &&
                                       st.st_ino == d->file_inode
                               ? 0
                               : -ENODEV;
        sequence = sequence_of_fd(host, fd);
        return sequence != 0 && sequence != d->sequence ? -ENODEV : 0;
}

static int open_same(const struct hal_docking *d, const struct hal_host *host, int more_flags,
                     int *ret_fd)
{
        _cleanup_close_ int fd =
                open(d->node, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY | more_flags);
        int r;

        if (fd < 0)
                return errno == ENOENT || errno == ENXIO ? -ENODEV : -errno;
        r = check_same(d, host, fd);
        if (r == 0)
                *ret_fd = take_fd(fd);
        return r;
}

int hal_docking_open(const struct hal_docking *docking, const struct hal_host *host, int *ret_fd,
                     struct bth_error *error)
{
        int fd = BTH_FD_NONE, r = open_same(docking, host, docking->is_virtual ? 0 : O_EXCL, &fd);

        bth_error_at(error, docking->node, 0, BTH_ERROR_NO_OFFSET);
        if (r == -ENODEV)
                return bth_error_set(error, r, BTH_REASON_DRIVE_GONE, "the drive was removed");
        if (r == -EBUSY)
                return bth_error_set(error, r, BTH_REASON_DEVICE_BUSY,
                                     "something else on this station has the drive open");
        /* Reads are to wait for the drive. */
        if (r == 0 && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) < 0) {
                r = -errno;
                fd = bth_close(fd);
        }
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_DRIVE_READ_ERROR,
                                     "it cannot be opened: %s", bth_strerror(r));
        *ret_fd = fd;
        return 0;
}

/* ---- seats ---- */

static struct manners *manners_of(struct seat *s)
{
        struct hal_hotplug *h = s->hotplug;

        return s->docking.bay ? &h->manners[s->docking.bay - h->options.bays->bays] : NULL;
}

static struct seat *seat_at(struct hal_hotplug *h, const char *node)
{
        for (struct seat *s = h->seats; s; s = s->next)
                if (strcmp(s->docking.node, node) == 0)
                        return s;
        return NULL;
}

static bool is_using_bay(const struct seat *s)
{
        return s->docking.bay && s->docking.state != HAL_DOCKING_CROWDED &&
               s->docking.state != HAL_DOCKING_GONE;
}

static struct seat *seat_using(struct hal_hotplug *h, const struct hal_bay *bay)
{
        for (struct seat *s = h->seats; s; s = s->next)
                if (s->docking.bay == bay && is_using_bay(s))
                        return s;
        return NULL;
}

static void identify(struct seat *s);

/* Faults are of all READY drives together: any may change when one comes or goes. */
static void look_for_twins(struct hal_hotplug *h, const struct seat *told)
{
        struct hal_identity *identities[HAL_DOCKINGS_MAX] = { NULL };
        enum hal_identity_fault before[HAL_DOCKINGS_MAX];
        struct seat *seats[HAL_DOCKINGS_MAX];
        size_t n = 0;

        for (struct seat *s = h->seats; s; s = s->next) {
                if (s->docking.state != HAL_DOCKING_READY)
                        continue;
                before[n] = s->docking.identity.fault;
                identities[n] = &s->docking.identity;
                seats[n++] = s;
        }
        if (!hal_identity_mark_duplicates(identities, n))
                return;
        for (size_t i = 0; i < n; i++)
                if (seats[i] != told && identities[i]->fault != before[i])
                        tell(seats[i]);
}

/* -- flapping */

static int on_quiet(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct seat *s = userdata;

        s->timer = sd_event_source_disable_unref(s->timer);
        manners_of(s)->short_stays = 0;
        identify(s);
        return 0;
}

static bool is_flapping(struct seat *s)
{
        const struct manners *m = manners_of(s);

        return m->short_stays >= FLAP_STAYS &&
               now_usec() - m->last_vanished_usec < FLAP_FORGET * s->hotplug->options.quiet_usec;
}

static void begin(struct seat *s)
{
        struct hal_hotplug *h = s->hotplug;

        if (!is_flapping(s)) {
                identify(s);
                return;
        }
        if (sd_event_add_time_relative(h->loop, &s->timer, CLOCK_MONOTONIC, h->options.quiet_usec,
                                       TIMER_ACCURACY, on_quiet, s) < 0) {
                identify(s); /* better too early than never */
                return;
        }
        set_state(s, HAL_DOCKING_FLAPPING);
}

static void remember_stay(struct seat *s)
{
        struct manners *m = manners_of(s);
        const uint64_t now = now_usec();

        if (!m)
                return;
        m->last_vanished_usec = now;
        if (now - s->appeared_usec < s->hotplug->options.short_usec)
                m->short_stays = MIN(m->short_stays + 1, FLAP_STAYS);
        else
                m->short_stays = 0;
}

/* -- coming and going */

/* The next drive of a bay that is free now. */
static void serve_bay(struct hal_hotplug *h, const struct hal_bay *bay)
{
        for (struct seat *s = h->seats; s; s = s->next)
                if (s->docking.bay == bay && s->docking.state == HAL_DOCKING_CROWDED) {
                        begin(s);
                        return;
                }
}

static void drop(struct seat *s)
{
        struct hal_hotplug *h = s->hotplug;
        const struct hal_bay *bay = s->docking.bay;
        const bool was_using = is_using_bay(s);
        struct seat **p = &h->seats;

        while (*p != s)
                p = &(*p)->next;
        *p = s->next;
        h->n_seats--;
        s->timer = sd_event_source_disable_unref(s->timer);
        if (was_using)
                remember_stay(s);
        set_state(s, HAL_DOCKING_GONE);
        free(s);
        look_for_twins(h, NULL);
        if (was_using)
                serve_bay(h, bay);
}

static int set_text(char *out, size_t out_bytes, const char *text)
{
        const size_t n = text ? strlen(text) : 0;

        if (n >= out_bytes)
                return -ENAMETOOLONG;
        if (n > 0)
                memcpy(out, text, n);
        out[n] = '\0';
        return 0;
}

static int fill(struct seat *s, const struct hal_sighting *g)
{
        int r = set_text(s->docking.node, sizeof s->docking.node, g->node);

        /* A hint that does not fit is none: no serial number is that long. */
        (void)!set_text(s->id_bus, sizeof s->id_bus, g->hints.id_bus);
        (void)!set_text(s->scsi_serial, sizeof s->scsi_serial, g->hints.id_scsi_serial);
        (void)!set_text(s->serial_short, sizeof s->serial_short, g->hints.id_serial_short);
        s->docking.sequence = g->sequence;
        s->docking.where = g->where;
        s->docking.is_virtual = g->is_virtual;
        s->docking.file_device = g->file_device;
        s->docking.file_inode = g->file_inode;
        s->device = g->device;
        return r;
}

static struct hal_udev_hints hints_of(const struct seat *s)
{
        return (struct hal_udev_hints){ .id_bus = s->id_bus[0] ? s->id_bus : NULL,
                                        .id_scsi_serial = s->scsi_serial[0] ? s->scsi_serial : NULL,
                                        .id_serial_short =
                                                s->serial_short[0] ? s->serial_short : NULL };
}

static int seat_new(struct hal_hotplug *h, const struct hal_sighting *g, struct seat **ret_seat)
{
        struct seat *s, **p = &h->seats;
        int r;

        if (h->n_seats >= HAL_DOCKINGS_MAX)
                return -ENOSPC;
        s = calloc(1, sizeof *s);
        if (!s)
                return -ENOMEM;
        r = fill(s, g);
        if (r < 0) {
                free(s);
                return r;
        }
        s->hotplug = h;
        s->number = ++h->last_number;
        s->appeared_usec = now_usec();
        s->seen = true;
        s->docking.bay = hal_bays_at(h->options.bays, &g->where);
        s->docking.error = BTH_ERROR_INIT;
        while (*p)
                p = &(*p)->next;
        *p = s;
        h->n_seats++;
        *ret_seat = s;
        return 0;
}

/* The same docking was seen again. */
static int refresh(struct seat *s, const struct hal_sighting *g)
{
        int r = fill(s, g);

        s->seen = true;
        if (r < 0)
                return r;
        if (s->docking.state == HAL_DOCKING_IDENTIFYING)
                s->again = true;
        else if (s->docking.state == HAL_DOCKING_UNREADABLE)
                identify(s);
        return 0;
}

/* No bay: what sysfs says, for an operator who is naming bays, and the drive is left alone. */
static void show_outside(struct seat *s)
{
        const struct hal_udev_hints hints = hints_of(s);

        if (!s->docking.is_virtual)
                (void)!hal_identity_read(s->hotplug->options.host, s->device, -1, &hints,
                                         &s->docking.identity, NULL);
        set_state(s, HAL_DOCKING_OUTSIDE);
}

int hal_hotplug_appear(struct hal_hotplug *h, const struct hal_sighting *g)
{
        struct seat *s = seat_at(h, g->node);
        int r;

        if (s && s->docking.sequence == g->sequence && s->docking.file_inode == g->file_inode)
                return refresh(s, g);
        if (s)
                drop(s);
        r = seat_new(h, g, &s);
        if (r < 0)
                return r;
        if (!s->docking.bay) {
                show_outside(s);
                return 0;
        }
        /* Not yet in use itself, so what is found is another one. */
        s->docking.state = HAL_DOCKING_CROWDED;
        if (seat_using(h, s->docking.bay))
                tell(s);
        else
                begin(s);
        return 0;
}

void hal_hotplug_vanish(struct hal_hotplug *h, const char *node, uint64_t sequence)
{
        struct seat *s = seat_at(h, node);

        if (s && (sequence == 0 || s->docking.sequence <= sequence))
                drop(s);
}

static bool belongs_to(const struct seat *s, const char *directory)
{
        return directory
                       ? s->docking.is_virtual && strcmp(s->docking.where.directory, directory) == 0
                       : !s->docking.is_virtual;
}

void hal_hotplug_look_begin(struct hal_hotplug *h, const char *directory)
{
        for (struct seat *s = h->seats; s; s = s->next)
                if (belongs_to(s, directory))
                        s->seen = false;
}

void hal_hotplug_look_end(struct hal_hotplug *h, const char *directory)
{
        /* Dropping one may begin another: the list is walked anew each time. */
        for (struct seat *s = h->seats; s;) {
                if (belongs_to(s, directory) && !s->seen) {
                        drop(s);
                        s = h->seats;
                } else {
                        s = s->next;
                }
        }
}

/* ---- identifying ---- */

static int identify_copy(struct identification *i)
{
        const struct hal_host *host = i->hotplug->options.host;
        const struct hal_udev_hints hints = hints_of(&i->copy);
        _cleanup_close_ int fd = BTH_FD_NONE;
        struct stat st;
        int r = open_same(&i->copy.docking, host, 0, &fd);

        if (r < 0)
                return bth_error_set(&i->error, r,
                                     r == -ENODEV ? BTH_REASON_DRIVE_GONE
                                                  : BTH_REASON_DRIVE_READ_ERROR,
                                     "it cannot be opened: %s", bth_strerror(r));
        if (i->copy.docking.is_virtual) {
                if (fstat(fd, &st) < 0)
                        return -errno;
                r = hal_identity_of_file(i->copy.docking.node, (uint64_t)st.st_size, &i->identity);
        } else {
                r = hal_identity_read(host, i->copy.device, fd, &hints, &i->identity, &i->error);
        }
        if (r == 0 && i->identity.size_bytes == 0)
                return bth_error_set(&i->error, -ENOMEDIUM, BTH_REASON_DRIVE_READ_ERROR,
                                     "the drive is empty, or tells no size");
        return r;
}

static void *identify_thread(void *userdata)
{
        struct identification *i = userdata;
        struct hal_hotplug *h = i->hotplug;
        const uint64_t one = 1;

        i->r = identify_copy(i);
        pthread_mutex_lock(&h->done_lock);
        i->next = h->done;
        h->done = i;
        pthread_cond_signal(&h->done_some);
        pthread_mutex_unlock(&h->done_lock);
        /* Cannot fail: the counter has room for more drives than there are. */
        (void)!write(h->done_fd, &one, sizeof one);
        return NULL;
}

static int start_thread(struct identification *i)
{
        pthread_attr_t attributes;
        int r = -pthread_attr_init(&attributes);

        if (r < 0)
                return r;
        r = -pthread_attr_setstacksize(&attributes, STACK_BYTES);
        if (r == 0)
                r = -pthread_create(&i->thread, &attributes, identify_thread, i);
        (void)pthread_attr_destroy(&attributes);
        return r;
}

static void set_unreadable(struct seat *s, int r, const struct bth_error *error)
{
        s->docking.error = *error;
        if (error->code == 0)
                (void)bth_error_set(&s->docking.error, r, BTH_REASON_DRIVE_READ_ERROR,
                                    "it cannot be identified: %s", bth_strerror(r));
        set_state(s, HAL_DOCKING_UNREADABLE);
}

static void identify(struct seat *s)
{
        struct hal_hotplug *h = s->hotplug;
        struct identification *i = calloc(1, sizeof *i);
        int r = i ? 0 : -ENOMEM;

        if (i) {
                *i = (struct identification){
                        .hotplug = h, .number = s->number, .copy = *s, .error = BTH_ERROR_INIT
                };
                r = start_thread(i);
        }
        if (r < 0) {
                const struct bth_error none = BTH_ERROR_INIT;

                free(i);
                set_unreadable(s, r, &none);
                return;
        }
        h->n_running++;
        s->again = false;
        if (s->docking.state != HAL_DOCKING_IDENTIFYING)
                set_state(s, HAL_DOCKING_IDENTIFYING);
}

/* A result for a docking that is gone by now is thrown away: that is a drive that was pulled while
 * it was identified. */
static void take_result(struct hal_hotplug *h, struct identification *i)
{
        struct seat *s = h->seats;

        while (s && s->number != i->number)
                s = s->next;
        if (!s)
                return;
        if (i->r < 0 && s->again) {
                identify(s); /* it was not ready, and has changed since */
        } else if (i->r < 0) {
                set_unreadable(s, i->r, &i->error);
        } else {
                struct hal_identity *identity = &s->docking.identity;

                *identity = i->identity;
                s->docking.state = HAL_DOCKING_READY;
                look_for_twins(h, s);
                tell(s);
        }
}

static struct identification *take_done(struct hal_hotplug *h)
{
        struct identification *i;

        pthread_mutex_lock(&h->done_lock);
        i = h->done;
        if (i)
                h->done = i->next;
        pthread_mutex_unlock(&h->done_lock);
        if (i) {
                (void)pthread_join(i->thread, NULL);
                h->n_running--;
        }
        return i;
}

static int on_done(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        struct hal_hotplug *h = userdata;
        uint64_t n;

        (void)!read(fd, &n, sizeof n);
        for (struct identification *i = take_done(h); i; i = take_done(h)) {
                take_result(h, i);
                free(i);
        }
        return 0;
}

/* ---- the object ---- */

int hal_hotplug_new(sd_event *loop, const struct hal_hotplug_options *options,
                    struct hal_hotplug **ret_hotplug)
{
        struct hal_hotplug *h = calloc(1, sizeof *h);
        int r;

        if (!h)
                return -ENOMEM;
        h->loop = sd_event_ref(loop);
        h->options = *options;
        if (h->options.short_usec == 0)
                h->options.short_usec = SHORT_USEC;
        if (h->options.quiet_usec == 0)
                h->options.quiet_usec = QUIET_USEC;
        pthread_mutex_init(&h->done_lock, NULL);
        pthread_cond_init(&h->done_some, NULL);
        h->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r = h->done_fd < 0 ? -errno : 0;
        h->manners = calloc(options->bays->n_bays + 1, sizeof *h->manners);
        if (r == 0 && !h->manners)
                r = -ENOMEM;
        if (r == 0)
                r = sd_event_add_io(loop, &h->done_source, h->done_fd, EPOLLIN, on_done, h);
        if (r < 0) {
                (void)hal_hotplug_free(h);
                return r;
        }
        *ret_hotplug = h;
        return 0;
}

struct hal_hotplug *hal_hotplug_free(struct hal_hotplug *h)
{
        if (!h)
                return NULL;
        while (h->n_running > 0) {
                pthread_mutex_lock(&h->done_lock);
                while (!h->done)
                        pthread_cond_wait(&h->done_some, &h->done_lock);
                pthread_mutex_unlock(&h->done_lock);
                free(take_done(h));
        }
        while (h->seats) {
                struct seat *next = h->seats->next;

                (void)sd_event_source_disable_unref(h->seats->timer);
                free(h->seats);
                h->seats = next;
        }
        (void)sd_event_source_disable_unref(h->done_source);
        (void)bth_close(h->done_fd);
        (void)sd_event_unref(h->loop);
        pthread_cond_destroy(&h->done_some);
        pthread_mutex_destroy(&h->done_lock);
        free(h->manners);
        free(h);
        return NULL;
}

const struct hal_docking *hal_hotplug_at(const struct hal_hotplug *h, size_t index)
{
        const struct seat *s = h->seats;

        while (s && index-- > 0)
                s = s->next;
        return s ? &s->docking : NULL;
}

const struct hal_docking *hal_hotplug_in_bay(const struct hal_hotplug *h, const struct hal_bay *bay)
{
        for (const struct seat *s = h->seats; s; s = s->next)
                if (s->docking.bay == bay && is_using_bay(s))
                        return &s->docking;
        return NULL;
}

const struct hal_host *hal_hotplug_host(const struct hal_hotplug *h)
{
        return h->options.host;
}

const struct hal_bays *hal_hotplug_bays(const struct hal_hotplug *h)
{
        return h->options.bays;
}

sd_event *hal_hotplug_loop(const struct hal_hotplug *h)
{
        return h->loop;
}
