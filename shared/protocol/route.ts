// Calls of the route module.
export const routeCalls = {} as const;
