// Written by `sagabox types`.

/** The `type` of {@link Paid}. */
export const PAID_TYPE = "Paid";

/** The `type` of {@link OrderPlaced}. */
export const ORDER_PLACED_TYPE = "order placed";

/** The `type` of {@link PayNow}. */
export const PAY_NOW_TYPE = "pay.now";

/** The data of each message, by its `type`. */
export interface Messages {
  "Paid": Paid;
  "order placed": OrderPlaced;
  "pay.now": PayNow;
}

/** Event `Paid`, taken by shop. */
export type Paid = "fully" | "in part";

/**
 * A customer has placed an order.
 * * / """ \ `end`
 *
 * Event `order placed`, sent by shop, taken by bank.
 */
export interface OrderPlaced {
  balance: number | null;
  count?: number;
  extra?: unknown;
  fee?: number | string;
  "is-gift"?: boolean;
  lines: Array<Line>;
  note?: Note | null;
  /** Unique in the shop. */
  orderId: string;
  payment: Payment;
  place: [number, string];
  prices?: Record<string, number>;
  total?: number;
  type: OrderPlacedType2;
}

export interface Line {
  class: string;
  sku: string;
}

export interface Note {
  others?: Array<Note>;
  reply?: Note | null;
  text: string;
}

/** How it is paid. */
export type Payment = PaymentCard | PaymentCash | string;

export interface PaymentCard {
  by: PaymentCardBy;
  number: string;
}

export type PaymentCardBy = "card";

export interface PaymentCash {
  by: PaymentCashBy;
}

export type PaymentCashBy = "cash";

export type OrderPlacedType2 = "online" | "in store" | "2nd" | "Self";

/** Command `pay.now`, sent by shop. */
export type PayNow = Array<Line>;
