// Functions that do not compile in this project; the build includes this into every file. A call by one of these names
// becomes an unknown identifier whose name says why.
#ifndef HD_BASE_BANNED_H
#define HD_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef strcpy
#undef strcat
#undef strncpy
#undef strncat
#undef sprintf
#undef vsprintf
#undef strtok
#undef atoi
#undef atol
#undef atoll
#define strcpy(...) banned_strcpy_use_hd_strlcpy_or_hd_buf
#define strcat(...) banned_strcat_use_hd_buf
#define strncpy(...) banned_strncpy_use_hd_strlcpy
#define strncat(...) banned_strncat_use_hd_buf
#define sprintf(...) banned_sprintf_use_hd_buf_addf
#define vsprintf(...) banned_vsprintf_use_hd_buf_addf
#define gets(...) banned_gets
#define strtok(...) banned_strtok
#define atoi(...) banned_atoi_use_hd_parse_i64
#define atol(...) banned_atol_use_hd_parse_i64
#define atoll(...) banned_atoll_use_hd_parse_i64

#endif
