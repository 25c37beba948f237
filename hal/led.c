/* SPDX-License-Identifier: GPL-3.0-or-later */
/* led - looking for slots in the enclosure class, and writing their lights. */
#include "hal/led.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"

enum light { LIGHT_LOCATE, LIGHT_FAULT, LIGHT_ACTIVE, LIGHTS };

static const char *const light_names[LIGHTS] = { "locate", "fault", "active" };

static const struct {
        const char *name;
        bool lights[LIGHTS];
} patterns[] = {
#define X(id, name, locate, fault, active) { name, { locate, fault, active } },
        HAL_LED_PATTERNS(X)
#undef X
};

struct hal_led {
        const struct hal_host *host;
        struct hal_place place;
        int slot_fd; /* folder of the slot; BTH_FD_NONE until it was found */
        bool known[LIGHTS], on[LIGHTS];
};

const char *hal_led_pattern_to_string(enum hal_led_pattern p)
{
        return p >= 0 && p < _HAL_LED_PATTERN_MAX ? patterns[p].name : NULL;
}

enum hal_led_pattern hal_led_pattern_from_string(const char *name)
{
        for (int i = 0; i < _HAL_LED_PATTERN_MAX; i++)
                if (bth_streq(name, patterns[i].name))
                        return (enum hal_led_pattern)i;
        return _HAL_LED_PATTERN_INVALID;
}

/* ---- slots ---- */

/* Called for every slot of every enclosure; 0 goes on, others end the walk. */
typedef int (*slot_visitor)(int slot_fd, const char *enclosure, uint32_t slot, void *userdata);

static int visit_slots(int enclosure_fd, const char *enclosure, slot_visitor visit, void *userdata)
{
        int fd = openat(enclosure_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);

        if (!dir) {
                (void)bth_close(fd);
                return 0; /* it went while we looked */
        }
        for (struct dirent *e = readdir(dir); e && r == 0; e = readdir(dir)) {
                _cleanup_close_ int slot_fd = BTH_FD_NONE;
                uint64_t slot;

                /* "device", "power" and "subsystem" are folders too, but have no number. */
                if (e->d_name[0] == '.')
                        continue;
                slot_fd = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
                if (slot_fd >= 0 && hal_host_read_u64(slot_fd, "slot", &slot) == 0 &&
                    slot <= UINT32_MAX)
                        r = visit(slot_fd, enclosure, (uint32_t)slot, userdata);
        }
        (void)closedir(dir);
        return r;
}

static int visit_enclosures(const struct hal_host *host, slot_visitor visit, void *userdata)
{
        int fd, r = hal_host_open_folder(host, "class/enclosure", &fd);
        DIR *dir;

        if (r < 0)
                return r == -ENOMEM ? r : 0;
        dir = fdopendir(fd);
        if (!dir) {
                (void)bth_close(fd);
                return -ENOMEM;
        }
        for (struct dirent *e = readdir(dir); e && r == 0; e = readdir(dir)) {
                _cleanup_close_ int enclosure_fd = BTH_FD_NONE;
                char id[HAL_HOST_TEXT_MAX];

                if (e->d_name[0] == '.')
                        continue;
                enclosure_fd = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (enclosure_fd < 0)
                        continue;
                if (hal_host_read_text(enclosure_fd, "id", id) < 0 || id[0] == '\0')
                        memcpy(id, e->d_name, strlen(e->d_name) + 1); /* at most 255 bytes */
                r = visit_slots(enclosure_fd, id, visit, userdata);
        }
        (void)closedir(dir);
        return r;
}

struct disk_search {
        const char *disk;
        char *enclosure;
        uint32_t *slot;
};

static int is_slot_of_disk(int slot_fd, const char *enclosure, uint32_t slot, void *userdata)
{
        struct disk_search *s = userdata;
        char path[HAL_HOST_TEXT_MAX + 32] = "device/block/";
        struct stat st;

        strncat(path, s->disk, HAL_HOST_TEXT_MAX);
        if (fstatat(slot_fd, path, &st, 0) < 0)
                return 0;
        memcpy(s->enclosure, enclosure, strlen(enclosure) + 1);
        *s->slot = slot;
        return 1;
}

int hal_led_slot_of(const struct hal_host *host, const char *disk,
                    char ret_enclosure[HAL_PLACE_MAX], uint32_t *ret_slot)
{
        struct disk_search s = { disk, ret_enclosure, ret_slot };
        int r = visit_enclosures(host, is_slot_of_disk, &s);

        return r > 0 ? 0 : r == 0 ? -ENOENT : r;
}

/* ---- lights ---- */

int hal_led_new(const struct hal_host *host, const struct hal_place *place,
                struct hal_led **ret_led)
{
        struct hal_led *l;

        if (place->kind != HAL_PLACE_ENCLOSURE)
                return -EINVAL;
        l = calloc(1, sizeof *l);
        if (!l)
                return -ENOMEM;
        l->host = host;
        l->place = *place;
        l->slot_fd = BTH_FD_NONE;
        *ret_led = l;
        return 0;
}

struct hal_led *hal_led_free(struct hal_led *l)
{
        if (l)
                (void)bth_close(l->slot_fd);
        free(l);
        return NULL;
}

static int is_our_slot(int slot_fd, const char *enclosure, uint32_t slot, void *userdata)
{
        struct hal_led *l = userdata;

        if (slot != l->place.slot || strcmp(enclosure, l->place.value) != 0)
                return 0;
        l->slot_fd = fcntl(slot_fd, F_DUPFD_CLOEXEC, 3);
        return l->slot_fd < 0 ? -errno : 1;
}

static int find_slot(struct hal_led *l)
{
        struct stat st;
        int r;

        /* The folder of an enclosure that went away has no links any more. */
        if (l->slot_fd >= 0 && fstatat(l->slot_fd, "slot", &st, 0) == 0)
                return 0;
        l->slot_fd = bth_close(l->slot_fd);
        memset(l->known, 0, sizeof l->known);
        r = visit_enclosures(l->host, is_our_slot, l);
        return r > 0 ? 0 : r == 0 ? -ENOENT : r;
}

int hal_led_set(struct hal_led *l, enum hal_led_pattern pattern, bool locate)
{
        int first = -ENOENT;
        bool shown = false;
        int r = find_slot(l);

        if (r < 0)
                return r;
        for (int i = 0; i < LIGHTS; i++) {
                const bool on = patterns[pattern].lights[i] || (locate && i == LIGHT_LOCATE);

                if (!l->known[i] || l->on[i] != on) {
                        r = hal_host_write_text(l->slot_fd, light_names[i], on ? "1" : "0");
                        l->known[i] = r == 0;
                        l->on[i] = on;
                        if (r < 0) {
                                first = first == -ENOENT ? r : first;
                                continue;
                        }
                }
                shown = true;
        }
        return shown ? 0 : first;
}
