// Calls of the index module (protocol of replicated registers).
export const indexCalls = {} as const;
