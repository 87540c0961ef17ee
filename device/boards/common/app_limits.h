/* Limits of a firmware that also takes models of other families and sizes than the one it brings along: those of the
 * library, or what its own model needs where that is more. */
#include "stinger_limits.h"

#if STINGER_MAX_WINDOW < 64
#undef STINGER_MAX_WINDOW
#define STINGER_MAX_WINDOW 64
#endif
#if STINGER_MAX_CHANNELS < 6
#undef STINGER_MAX_CHANNELS
#define STINGER_MAX_CHANNELS 6
#endif
#if STINGER_MAX_TRIADS < 2
#undef STINGER_MAX_TRIADS
#define STINGER_MAX_TRIADS 2
#endif
#if STINGER_MAX_CLASSES < 8
#undef STINGER_MAX_CLASSES
#define STINGER_MAX_CLASSES 8
#endif
#if STINGER_MAX_UNITS < 64
#undef STINGER_MAX_UNITS
#define STINGER_MAX_UNITS 64
#endif
#undef STINGER_FIXED_SHAPE
#undef STINGER_WITH_NETWORKS
#undef STINGER_WITH_FORESTS
#undef STINGER_WITH_BOOSTED
#undef STINGER_WITH_POLICIES
#undef STINGER_WITH_COUPLED
#undef STINGER_WITH_MAGNETIC
