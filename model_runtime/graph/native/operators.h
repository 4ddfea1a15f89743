/* The operators of the library. */

#ifndef LACUNA_OPERATORS_H
#define LACUNA_OPERATORS_H

#include "onnxruntime.h"

extern const Operator MATMUL_PACKED, ATTENTION;

#endif
