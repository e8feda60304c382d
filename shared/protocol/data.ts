// Calls and stream headers of the data module.
export const dataCalls = {} as const;
