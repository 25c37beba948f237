/* SPDX-License-Identifier: GPL-3.0-or-later */
/* libntfs - the one place that includes libntfs-3g's headers, with what they silently expect.
 * They were written for a config.h of their own; without these names they define struct timespec
 * again. Private to media/. */
#pragma once

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#define HAVE_STDARG_H    1
#define HAVE_STDINT_H    1
#define HAVE_STDIO_H     1
#define HAVE_SYS_STAT_H  1
#define HAVE_SYS_TYPES_H 1
#define HAVE_TIME_H      1

#include <ntfs-3g/types.h>
#include <ntfs-3g/volume.h>
#include <ntfs-3g/attrib.h>
#include <ntfs-3g/device.h>
#include <ntfs-3g/dir.h>
#include <ntfs-3g/inode.h>
#include <ntfs-3g/logging.h>
#include <ntfs-3g/unistr.h>
