/* emlearn's headers ask for <stdio.h> and use nothing of it; freestanding builds have none. */
