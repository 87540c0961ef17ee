/* emlearn's headers ask for <stdlib.h> and use nothing of it; freestanding builds have none. */
