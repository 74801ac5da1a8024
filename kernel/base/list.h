// An intrusive doubly linked list: objects embed a ListNode and are on at most one list per node. The list
// owns nothing and takes no lock. Links are plain pointers, so a list in the arena is good in every process.
#pragma once

#include "kernel/base/types.h"

namespace teacup {

struct ListNode {
  ListNode* next = nullptr;
  ListNode* previous = nullptr;
  bool linked() const { return next != nullptr; }
};

template <typename T, ListNode T::*node>
class List {
 public:
  List() { reset(); }
  List(const List&) = delete;
  List& operator=(const List&) = delete;

  bool empty() const { return head_.next == &head_; }
  T* front() { return empty() ? nullptr : owner(head_.next); }
  T* back() { return empty() ? nullptr : owner(head_.previous); }
  void push_front(T& item) { insert(&head_, &(item.*node)); }
  void push_back(T& item) { insert(head_.previous, &(item.*node)); }
  static void remove(T& item) {
    ListNode* link = &(item.*node);
    link->previous->next = link->next;
    link->next->previous = link->previous;
    link->next = link->previous = nullptr;
  }
  T* pop_front() {
    T* item = front();
    if (item != nullptr) remove(*item);
    return item;
  }
  // nullptr at the end.
  T* after(T& item) { return (item.*node).next == &head_ ? nullptr : owner((item.*node).next); }

  class Iterator {
   public:
    Iterator(List& list, ListNode* at) : list_(&list), at_(at) {}
    T& operator*() const { return *owner(at_); }
    T* operator->() const { return owner(at_); }
    Iterator& operator++() {
      at_ = at_->next;
      return *this;
    }
    bool operator==(const Iterator& other) const { return at_ == other.at_; }

   private:
    List* list_;
    ListNode* at_;
  };
  Iterator begin() { return {*this, head_.next}; }
  Iterator end() { return {*this, &head_}; }

 private:
  static void insert(ListNode* after, ListNode* link) {
    link->previous = after;
    link->next = after->next;
    after->next->previous = link;
    after->next = link;
  }
  static T* owner(ListNode* link) {
    auto offset = reinterpret_cast<std::uintptr_t>(&(static_cast<T*>(nullptr)->*node));
    return reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(link) - offset);
  }
  void reset() { head_.next = head_.previous = &head_; }

  ListNode head_;
};

}  // namespace teacup
